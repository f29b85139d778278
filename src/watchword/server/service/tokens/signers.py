"""The signing keys of a tenant, prepared once for each algorithm and type."""

from __future__ import annotations

from ....jose import PrivateKey, Signer
from ....jose.cose_signing import CwtSigner
from ...protocol.errors import Unavailable
from ..view import TenantView


def signer(tenant: TenantView, algorithm: str, typ: str, **header: object) -> Signer:
    """The prepared signer of an algorithm and type, made once per view of the tenant."""
    name = f"signer {algorithm} {typ} {header}" if header else f"signer {algorithm} {typ}"
    found = tenant.derived.get(name)
    if isinstance(found, Signer):
        return found
    made = tenant.derived[name] = Signer(_active_key(tenant, algorithm), typ=typ, header=header)
    return made


def cwt_signer(tenant: TenantView, algorithm: str) -> CwtSigner:
    """The same for CWTs."""
    name = f"signer {algorithm} cwt"
    found = tenant.derived.get(name)
    if isinstance(found, CwtSigner):
        return found
    made = tenant.derived[name] = CwtSigner(_active_key(tenant, algorithm))
    return made


def _active_key(tenant: TenantView, algorithm: str) -> PrivateKey:
    key = tenant.signing.get(algorithm)
    if key is None:
        raise Unavailable(
            "no signing key is active",
            detail=f"tenant {tenant.tenant.slug} has no {algorithm} key",
        )
    return key
