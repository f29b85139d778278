"""Apply the rule of administration inside the transaction of a change, on its final state."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...registry import admin_rights
from ...registry.model import ADMIN_API, Api, Application, Role
from ...registry.ports import RegistryReads
from ..desk import Caller, roles_of

_PAGE = 1_000


async def check_may_change(tx: RegistryReads, caller: Caller, *records: Application | Role) -> None:
    """The caller holds all that these records hold: give the record before and after the change. Raises `Forbidden`."""
    await check_may_change_all(tx, caller, records)


async def check_may_change_all(tx: RegistryReads, caller: Caller, records: Iterable[Application | Role]) -> None:
    """The same for many records."""
    rights = await Rights.seen(tx, caller)
    for record in records:
        rights.check(record)


class Rights:
    """What the caller of a transaction holds, and what else it holds it against."""

    def __init__(self, held: frozenset[str], admin: Api | None, roles: dict[str, Role]) -> None:
        self.held, self._admin, self._roles = held, admin, roles

    @classmethod
    async def seen(cls, tx: RegistryReads, caller: Caller) -> Rights:
        """What the caller's application holds now, of the scopes of its token."""
        admin: Api | None = await tx.apis.find(caller.tenant_id, ADMIN_API)
        roles = await roles_of(tx, caller.tenant_id)
        application = await tx.applications.look(caller.tenant_id, caller.actor)
        if admin is None or application is None or not application.active:
            return cls(frozenset(), admin, roles)
        return cls(caller.scopes & admin_rights.rights_of(application, roles, admin), admin, roles)

    def of(self, record: Application | Role) -> frozenset[str]:
        """The rights of an application, or those that a role gives."""
        if self._admin is None:
            return frozenset()
        if isinstance(record, Role):
            return admin_rights.rights_in(record.access, self._admin)
        return admin_rights.rights_of(record, self._roles, self._admin)

    def check(self, record: Application | Role) -> None:
        """Raises `Forbidden`."""
        admin_rights.check_holds(self.held, self.of(record))

    def everything(self) -> bool:
        """Whether there is nobody who holds more."""
        return self._admin is not None and self.held == self._admin.scope_names()


async def check_may_speak_for(tx: RegistryReads, caller: Caller, reached: Callable[[Application], bool]) -> None:
    """Whoever changes an issuer or a CA can authenticate as the applications that trust it reaches.

    So the caller holds all that any of them holds. Reads every application, unless the caller holds everything.
    Raises `Forbidden`.
    """
    rights = await Rights.seen(tx, caller)
    after: tuple[str, str] | None = None
    while not rights.everything():
        page: list[Application] = list(await tx.applications.page(caller.tenant_id, after, _PAGE))
        for application in page:
            if reached(application):
                rights.check(application)
        if len(page) < _PAGE:
            return
        after = page[-1].name, page[-1].client_id
