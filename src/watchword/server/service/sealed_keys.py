"""Open the signing keys of a tenant. The master key vouches for them, the database alone does not.

The public half is derived from the encrypted private half. A row that was written without the master key does not
open: it is neither published nor believed, and rotation does not touch it.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from ...jose import Algorithm, JoseError, PrivateKey
from ...jose.sealing import MasterKey, SealBroken
from ..keys.model import SigningKey

_log = structlog.get_logger("watchword.signing_keys")


def sealing_place(tenant_id: str, kid: str) -> str:
    """The place that an encrypted signing key is bound to; part of what the encryption authenticates."""
    return f"signing_key/{tenant_id}/{kid}"


def open_keys(tenant_id: str, keys: Iterable[SigningKey], master: MasterKey) -> list[tuple[SigningKey, PrivateKey]]:
    """The keys in use, each with its private half; rows that do not open are logged and left out.

    Raises `SealBroken` when none of them opens: the master key is another one.
    """
    in_use = [key for key in keys if key.state != "gone"]
    opened = [(key, private) for key in in_use if (private := _opened(tenant_id, key, master)) is not None]
    if in_use and not opened:
        raise SealBroken("cannot open any signing key of this tenant: the master key is not the one that sealed them")
    return opened


def ours(tenant_id: str, keys: Iterable[SigningKey], master: MasterKey) -> list[SigningKey]:
    """The keys of which the encryption holds, and those that are gone, for whoever does not need the private half."""
    return [key for key in keys if key.state == "gone" or _seal_holds(tenant_id, key, master)]


def _opened(tenant_id: str, key: SigningKey, master: MasterKey) -> PrivateKey | None:
    try:
        plain = _unsealed(tenant_id, key, master)
        return PrivateKey.from_pkcs8(plain, Algorithm(key.algorithm), key.kid)
    except (SealBroken, JoseError) as error:
        _log.error(
            "a signing key in the database was not written by this server, and is not used",
            tenant_id=tenant_id, kid=key.kid, state=key.state, why=str(error),
        )  # fmt: skip
        return None


def _seal_holds(tenant_id: str, key: SigningKey, master: MasterKey) -> bool:
    try:
        _unsealed(tenant_id, key, master)
    except SealBroken:
        return False
    return True


def _unsealed(tenant_id: str, key: SigningKey, master: MasterKey) -> bytes:
    if key.tenant_id != tenant_id:
        raise SealBroken("the row is another tenant's")
    return master.unseal(key.sealed, sealing_place(tenant_id, key.kid))
