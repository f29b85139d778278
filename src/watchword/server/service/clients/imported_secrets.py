"""Check secrets that were imported as bcrypt or PBKDF2 hashes, and replace the hash by an HMAC at the first use.

The hashes are slow on purpose, so strangers could keep a tenant busy with wrong guesses. They run in a thread, one at
a time; few requests wait for them, and a source that guesses too often gets 429 before any of them runs. In a tenant
that has such hashes, every wrong secret costs one, also for unknown clients: time does not tell who exists. The
replacement and its audit event are one transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable

import bcrypt
from msgspec.structs import replace

from ...audit.events import SecretUpgraded
from ...protocol.errors import SlowDown
from ...protocol.request import Credentials
from ...registry.imported_hash import MIN_SECRET
from ...registry.model import Application, Secret
from ...registry.secret_text import digest
from ..ports import Store
from .guesses import Guesses

MAX_WAITING = 16
"""Requests that wait for a hash; others get 429 at once."""
MAX_OF_SOURCE = 4
"""How many of them one source may have."""
FREE = 10
"""Hashes of one source for one client id before it gets 429 (then one in 5 s); three times as many for all ids."""
MAX_TENANTS = 10_000


def matches(imported: str, unverified_secret: bytes) -> bool:
    """Whether a secret has this hash. bcrypt reads 72 bytes, so longer secrets never match it."""
    if imported.startswith("bcrypt:"):
        try:
            return len(unverified_secret) <= 72 and bcrypt.checkpw(unverified_secret, imported[7:].encode())
        except ValueError:  # the salt has characters that bcrypt does not have
            return False
    _, rounds, salt, wanted = imported.split("$")
    given = hashlib.pbkdf2_hmac("sha256", unverified_secret[:1024], salt.encode(), int(rounds)).hex()
    return hmac.compare_digest(given, wanted)


class ImportedSecrets:
    """Upgrades imported secrets at their first use. One object per worker; `guesses` is its own."""

    def __init__(self, store: Store, pepper: bytes, clock: Callable[[], float], guesses: Guesses) -> None:
        self._store, self._pepper, self._clock, self._guesses = store, pepper, clock, guesses
        self.matches = matches
        """The slow part. Tests count its calls."""
        self._turn = asyncio.Lock()
        self._waiting: dict[str, int] = {}
        self._seen: OrderedDict[str, str] = OrderedDict()
        """The imported hash that was last seen in each tenant: what a wrong secret costs there."""

    def concern(self, application: Application) -> bool:
        """Whether the application still has an imported hash."""
        for secret in application.secrets:  # noqa: SIM110  (each token request asks; a generator costs twice this)
            if not secret.digest.startswith("hmac:"):
                return True
        return False

    async def upgrade(self, application: Application, presented: Credentials, source: str, now: float) -> bool:
        """Replace the imported hash that the presented secret matches. Returns whether a hash was calculated.

        Raises `SlowDown` for a source that guesses too often, and when too many wait.
        """
        imported = [secret for secret in application.secrets if not secret.digest.startswith("hmac:")]
        self._remember(application.tenant_id, imported[-1].digest)
        given, tried = _given(presented), False
        for secret in imported:
            if not secret.live(now) or not given:
                continue
            tried = True
            if await self._slowly(secret.digest, presented.unverified_client_id, given, source, now):
                await self._replace(application, secret, digest(self._pepper, given))
                break
        return tried

    async def spend(self, tenant_id: str, presented: Credentials, source: str, now: float) -> None:
        """Spend the time of one hash on a wrong secret, where such hashes are in use; raises as `upgrade` does."""
        imported, given = self._seen.get(tenant_id), _given(presented)
        if imported is not None and given:
            await self._slowly(imported, presented.unverified_client_id, given, source, now)

    def _remember(self, tenant_id: str, imported: str) -> None:
        self._seen[tenant_id] = imported
        if len(self._seen) > MAX_TENANTS:
            self._seen.popitem(last=False)

    async def _slowly(self, imported: str, unverified_client_id: str, given: bytes, source: str, now: float) -> bool:
        waiting = self._waiting.get(source, 0)
        if waiting >= MAX_OF_SOURCE or sum(self._waiting.values()) >= MAX_WAITING:
            raise SlowDown(1, rule="hashes")
        seconds = self._guesses.failed(unverified_client_id, source, now)
        if seconds:
            raise SlowDown(seconds, rule="wrong credentials")
        self._waiting[source] = waiting + 1
        try:
            async with self._turn:
                return await asyncio.to_thread(self.matches, imported, given)
        finally:
            self._waiting[source] -= 1
            if not self._waiting[source]:
                del self._waiting[source]

    async def _replace(self, seen: Application, secret: Secret, ours: str) -> None:
        async with self._store.transaction() as tx:
            application = await tx.applications.get(seen.tenant_id, seen.client_id)
            if application is None or secret not in application.secrets:
                return
            secrets = tuple(replace(s, digest=ours) if s.id == secret.id else s for s in application.secrets)
            await tx.applications.replace(replace(application, secrets=secrets, version=application.version + 1))
            event = SecretUpgraded(
                at=self._clock(),
                actor=application.client_id,
                client_id=application.client_id,
                secret_id=secret.id,
            )
            tx.record(application.tenant_id, event)


def _given(presented: Credentials) -> bytes:
    """The presented secret; empty if it is none, or shorter than an imported secret may be."""
    given = presented.unverified_secret.encode("utf-8", "surrogateescape")
    return given if len(given) >= MIN_SECRET else b""
