"""Updates of a registration (RFC 7592 section 2.2): what an administrator has set stays."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from ...protocol.client_metadata import ClientMetadata
from ...protocol.errors import InvalidClientMetadata
from ...registry import client_keys
from ...registry.model import Application, AuthMethod, CertificateName, ClientKey, RegistrationPolicy


class ByHand(Struct, frozen=True):
    """What an administrator has set and an update keeps."""

    auth_method: AuthMethod | None = None
    require_bound: bool = False
    require_dpop: bool = False


def by_hand_of(before: Application) -> ByHand:
    """Compares the application with what its registration said last."""
    said = before.registration
    if said is None:
        return ByHand()
    return ByHand(
        before.auth_method if before.auth_method != said.auth_method else None,
        before.require_bound and not said.require_bound,
        before.require_dpop and not said.require_dpop,
    )


def name_of(before: Application, wanted: str, policy: RegistrationPolicy) -> str:
    """The name with the policy's prefix; an answer shows it with the prefix, which is not put on again."""
    if _in_group(before) or wanted == before.name:
        return before.name
    return wanted if policy.name_prefix and wanted.startswith(policy.name_prefix) else policy.name_prefix + wanted


def keys_of(before: Application, wanted: ClientMetadata, at: int) -> tuple[ClientKey, ...]:
    """Keys that are there already stay as they are."""
    known = {key.kid: key for key in before.keys}
    read = client_keys.read_keys(wanted.jwks, at) if wanted.jwks is not None else ()
    return tuple(known[k.kid] if k.kid in known and known[k.kid].jwk == k.jwk else k for k in read)


def certificate_of(before: Application, wanted: ClientMetadata) -> CertificateName | None:
    """The name in its certificate, with the anchor to which an administrator has bound the application."""
    if wanted.tls_client_auth is None or before.tls_client_auth is None:
        return wanted.tls_client_auth
    return replace(wanted.tls_client_auth, anchor=before.tls_client_auth.anchor)


def method_of(before: Application, wanted: ClientMetadata, policy: RegistrationPolicy) -> AuthMethod:
    """client_secret_basic is the default (RFC 7591 section 2), where the policy allows it.

    A method that an administrator has set stays: it can be said, or left out.
    """
    by_hand = by_hand_of(before).auth_method
    if by_hand is not None:
        if wanted.auth_method in (None, by_hand):
            return by_hand
        raise InvalidClientMetadata(f"an administrator has set token_endpoint_auth_method {by_hand}: leave it as it is")
    allowed = policy.auth_methods
    method = wanted.auth_method or ("client_secret_basic" if "client_secret_basic" in allowed else allowed[0])
    if method not in allowed:
        raise InvalidClientMetadata(f"token_endpoint_auth_method may be {', '.join(allowed)}")
    return method


def _in_group(before: Application) -> bool:
    return bool(before.name) and before.group_id is not None
