"""A device enrols itself with a code, once; or is answered again when the first answer was lost.

The use of the code, the place in the group, the serial number, the application and its events are one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ..audit.events import ApplicationCreated, DeviceEnrolled, SecretCreated, SecretRotated
from ..protocol.enrolment import EnrolmentRequest, admitted, check_open, check_possession, check_repeat
from ..protocol.errors import InvalidGrant
from ..protocol.proof_jwt import Window
from ..registry.enrolment import EnrolmentCode, Way
from ..registry.errors import Conflict
from ..registry.model import SECRET_METHODS, Application
from ..registry.secret_text import digest
from .client_key_changes import record_keys
from .create_application import check_application
from .desk import Caller, Desk
from .membership import settle
from .ports import Contention, Transaction

ENROLMENT = "enrolment"
_WAY: Way = "code"


class Enrolled(Struct, frozen=True):
    """A device's application; `secret` is its text, None where it brought a key."""

    application: Application
    secret: str | None
    first: bool

    def __repr__(self) -> str:
        return f"Enrolled({self.application.client_id})"


class EnrolDevice:
    """One object per worker. `save_uses` writes when secrets were used here, `used` reads it, of all workers."""

    def __init__(
        self,
        desk: Desk,
        save_uses: Callable[[], Awaitable[None]],
        used: Callable[[str, Sequence[str]], Awaitable[dict[str, int]]],
        window: Window,
    ) -> None:
        self._desk, self._save_uses, self._used, self._window = desk, save_uses, used, window

    async def __call__(self, tenant_id: str, issuer: str, wanted: EnrolmentRequest, request_id: str = "") -> Enrolled:
        """The device's application, one for each enrolment id of a code.

        Raises:
            InvalidGrant: the code is unknown, used up or expired: one and the same.
            EnrolmentRefused: the group does not let it in. `InvalidRequest`: a proof is wrong.
            RegistryError: the group is full, the serial number taken, or the group's policy makes no application.
            Contention: another request of this device came first; do it again, and it is answered.
        """
        kept = digest(self._desk.pepper, wanted.unverified_code.encode("utf-8", "surrogatepass"))
        mark = digest(self._desk.pepper, f"{kept}\n{wanted.enrolment_id}".encode("utf-8", "surrogatepass"))
        async with self._desk.store.snapshot() as seen:  # a stranger gets no transaction that writes
            code = await seen.codes.get(tenant_id, kept)
            holder = await seen.holder(tenant_id, ENROLMENT, mark)
            before = await seen.applications.get(tenant_id, holder) if code is not None and holder else None
        if code is None:
            raise InvalidGrant
        if before is None and not code.live(self._desk.clock()):
            raise InvalidGrant
        check_possession(wanted, issuer, self._desk.clock(), self._window)
        if before is not None:
            return await self._repeated(before, wanted, request_id)
        return await self._first(code, mark, wanted, request_id)

    async def _first(self, code: EnrolmentCode, mark: str, wanted: EnrolmentRequest, request_id: str) -> Enrolled:
        desk, now, text = self._desk, int(self._desk.clock()), None
        client_id = desk.new_id()
        async with desk.store.transaction() as tx:
            if not await tx.codes.use(code.tenant_id, code.digest, now):
                raise Contention("the code was used up or withdrawn meanwhile")
            try:
                await tx.claim(code.tenant_id, ENROLMENT, mark, client_id)
            except Conflict:
                raise Contention("another request of this device came first") from None
            group = check_open(await tx.enrolment_groups.get(code.tenant_id, code.group_id), _WAY, now)
            made = admitted(group, wanted, client_id, now)
            if made.auth_method in SECRET_METHODS:
                made, text = _with_secret(desk, made, group.secret_lifetime)
            await check_application(tx, made)
            await settle(tx, None, made)
            await tx.applications.add(made)
            _record(desk, tx, Caller(code.tenant_id, client_id, request_id), made)
        return Enrolled(made, text, True)

    async def _repeated(self, seen: Application, wanted: EnrolmentRequest, request_id: str) -> Enrolled:
        desk, tenant_id = self._desk, seen.tenant_id
        if not seen.secrets:
            check_repeat(seen, wanted, desk.clock(), secret_was_used=False)
            return Enrolled(seen, None, False)
        await self._save_uses()
        async with desk.store.transaction() as tx:
            before = await tx.applications.get(tenant_id, seen.client_id)
            if before is None:
                raise Contention("it was deleted meanwhile")
            used = bool(await self._used(tenant_id, [secret.id for secret in before.secrets]))
            check_repeat(before, wanted, desk.clock(), secret_was_used=used)
            group = await tx.enrolment_groups.get(tenant_id, before.group_id) if before.group_id else None
            after, text = _with_secret(desk, before, group.secret_lifetime if group is not None else None)
            await tx.applications.replace(replace(after, version=before.version + 1))
            event = SecretRotated(
                client_id=before.client_id, secret_id=after.secrets[0].id, others_expire_at=int(desk.clock()),
                superseded=tuple(s.id for s in before.secrets),
                **desk.said(Caller(tenant_id, before.client_id, request_id)),
            )  # fmt: skip
            tx.record(tenant_id, event)
        return Enrolled(after, text, False)


def _with_secret(desk: Desk, application: Application, life: int | None) -> tuple[Application, str]:
    """One new secret in place of those that there are."""
    kept, text = desk.new_secret(int(desk.clock()) + life if life is not None else None)
    return replace(application, secrets=(desk.kept_for(application, kept, text),)), text


def _record(desk: Desk, tx: Transaction, caller: Caller, made: Application) -> None:
    said, tenant_id = desk.said(caller), caller.tenant_id
    tx.record(tenant_id, ApplicationCreated(client_id=made.client_id, name=made.name, **said))
    enrolled = DeviceEnrolled(
        client_id=made.client_id, group_id=made.group_id or "", way=_WAY, serial=made.serial, **said
    )
    tx.record(tenant_id, enrolled)
    for secret in made.secrets:
        event = SecretCreated(client_id=made.client_id, secret_id=secret.id, expires_at=secret.expires_at, **said)
        tx.record(tenant_id, event)
    record_keys(tx, desk, caller, replace(made, keys=()), made)
