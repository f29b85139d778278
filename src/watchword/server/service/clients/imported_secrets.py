"""Check secrets that were imported as bcrypt or PBKDF2 hashes, and replace the hash by an HMAC at the first use.

The check is expensive, so few run at once and each has a bounded cost. The replacement and its audit
event are one transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable

import bcrypt
from msgspec.structs import replace

from ...audit.events import SecretUpgraded
from ...protocol.request import Credentials
from ...registry.model import Application, Secret
from ...registry.secret_text import digest
from ..ports import Store

_AT_ONCE = 2


def matches(imported: str, unverified_secret: bytes) -> bool:
    """Whether a secret has this hash. bcrypt reads 72 bytes, so longer secrets never match it."""
    if imported.startswith("bcrypt:"):
        return len(unverified_secret) <= 72 and bcrypt.checkpw(unverified_secret, imported[7:].encode())
    _, rounds, salt, wanted = imported.split("$")
    given = hashlib.pbkdf2_hmac("sha256", unverified_secret[:1024], salt.encode(), int(rounds)).hex()
    return hmac.compare_digest(given, wanted)


class ImportedSecrets:
    """Upgrades imported secrets at their first use."""

    def __init__(self, store: Store, pepper: bytes, clock: Callable[[], float]) -> None:
        self._store, self._pepper, self._clock = store, pepper, clock
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def concern(self, application: Application) -> bool:
        """Whether the application still has an imported hash."""
        for secret in application.secrets:  # noqa: SIM110  (each token request asks; a generator costs twice this)
            if not secret.digest.startswith("hmac:"):
                return True
        return False

    async def upgrade(self, application: Application, presented: Credentials, now: float) -> None:
        """Replace the imported hash that the presented secret matches; do nothing when none does."""
        given = presented.unverified_secret.encode("utf-8", "surrogateescape")
        for secret in application.secrets:
            if secret.digest.startswith("hmac:") or not secret.live(now) or not given:
                continue
            async with self._turns:
                if await asyncio.to_thread(matches, secret.digest, given):
                    return await self._replace(application, secret, digest(self._pepper, given))

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
