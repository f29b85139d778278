"""Read the client metadata of a registration strictly, and write it in answers (RFC 7591 section 2).

Unknown members are ignored and not shown (section 2). Members that only an administrator may set are rejected, so that
no application relies on them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from msgspec import Struct

from ..registry.model import CLIENT_CREDENTIALS, AuthMethod, CertificateName
from ..registry.rules import is_printable
from .errors import InvalidClientMetadata, InvalidRedirectUri

MAX_NAMES: Final = 20
"""The most translations of a name or URL."""
MAX_CONTACTS: Final = 10
_PRIVILEGED: Final = frozenset(
    {
        "enabled", "disabled", "tenant", "tenant_id", "role", "roles", "role_ids", "grants", "labels", "kind",
        "first_party", "trusted", "admin", "lifetime", "token_lifetime", "access_token_lifetime",
        "access_token_format", "not_before_ms", "registration", "version", "created_at", "secrets", "secret",
        "secret_hash",
    }
)  # fmt: skip
SERVERS_OWN: Final = frozenset(
    {"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}
)
"""Members that only the server sets (RFC 7592 section 2.2)."""
_URIS: Final = ("client_uri", "logo_uri", "policy_uri", "tos_uri")
_NAMED: Final = {
    "tls_client_auth_subject_dn": "subject_dn", "tls_client_auth_san_dns": "san_dns",
    "tls_client_auth_san_uri": "san_uri", "tls_client_auth_san_ip": "san_ip",
    "tls_client_auth_san_email": "san_email",
}  # fmt: skip
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,7}")
"""A language tag (RFC 5646 section 2.1), without a look at the registry of languages."""
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\\<>\"{}|^`]")


class ClientMetadata(Struct, frozen=True, kw_only=True):
    """The metadata as read; a policy is checked later. None: absent."""

    auth_method: AuthMethod | None = None
    scope: frozenset[str] | None = None
    names: dict[str, str] = {}
    uris: dict[str, str] = {}
    contacts: tuple[str, ...] = ()
    software_id: str = ""
    software_version: str = ""
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    tls_client_auth: CertificateName | None = None
    require_bound: bool = False
    """`tls_client_certificate_bound_access_tokens` (RFC 8705 section 3.4); a DPoP key binds as well."""
    require_dpop: bool = False
    """`dpop_bound_access_tokens` (RFC 9449 section 5.2)."""
    statement: str = ""


def read_metadata(unverified: Mapping[str, Any]) -> ClientMetadata:
    """Raises `InvalidClientMetadata`, `InvalidRedirectUri`."""
    if taken := sorted(_PRIVILEGED & unverified.keys()):
        raise InvalidClientMetadata(f"{taken[0]} is for an administrator to say: leave it out")
    _check_flow(unverified)
    method = _text(unverified, "token_endpoint_auth_method", 64) or None
    if method is not None and method not in get_args(AuthMethod):
        raise InvalidClientMetadata(f"token_endpoint_auth_method is one of {', '.join(get_args(AuthMethod))}")
    scope = _text(unverified, "scope", 4_096)
    jwks = unverified.get("jwks")
    if jwks is not None and not isinstance(jwks, dict):
        raise InvalidClientMetadata("jwks is a JWK set: an object with keys")
    if jwks is not None and unverified.get("jwks_uri") is not None:
        raise InvalidClientMetadata("jwks and jwks_uri exclude each other (RFC 7591 section 2)")
    certificate = {to: _text(unverified, name, 1_024) for name, to in _NAMED.items() if name in unverified}
    return ClientMetadata(
        auth_method=method,  # type: ignore[arg-type]
        scope=frozenset(scope.split(" ")) - {""} if "scope" in unverified else None,
        names=_by_language(unverified, ("client_name",), 200),
        uris={name: _web_address(name, uri) for name, uri in _by_language(unverified, _URIS, 2_000).items()},
        contacts=_contacts(unverified),
        software_id=_text(unverified, "software_id", 255),
        software_version=_text(unverified, "software_version", 255),
        jwks=jwks,
        jwks_uri=_text(unverified, "jwks_uri", 2_000) or None,
        tls_client_auth=CertificateName(**certificate) if certificate else None,
        require_bound=_flag(unverified, "tls_client_certificate_bound_access_tokens"),
        require_dpop=_flag(unverified, "dpop_bound_access_tokens"),
        statement=_text(unverified, "software_statement", 16_384),
    )


def _check_flow(unverified: Mapping[str, Any]) -> None:
    """Reject response types and redirect URIs: there is no flow with a browser."""
    grants = unverified.get("grant_types", [CLIENT_CREDENTIALS])
    if grants != [CLIENT_CREDENTIALS]:
        raise InvalidClientMetadata(f'grant_types is ["{CLIENT_CREDENTIALS}"]: others are for an administrator to give')
    if unverified.get("response_types", []) != []:
        raise InvalidClientMetadata("response_types is an empty list: there is no authorization endpoint")
    if unverified.get("redirect_uris", []) != []:
        raise InvalidRedirectUri("redirect_uris is left out or empty: nobody is redirected here")


def _by_language(unverified: Mapping[str, Any], names: tuple[str, ...], limit: int) -> dict[str, str]:
    """RFC 7591 section 2.2: `client_name#ja`."""
    found = {}
    for member in unverified:
        name, tagged, language = member.partition("#")
        if name not in names:
            continue
        if tagged and not _LANGUAGE.fullmatch(language):
            raise InvalidClientMetadata(f"what follows {name}# is a language tag, such as de or pt-BR")
        if text := _text(unverified, member, limit):
            found[member] = text
    if len(found) > MAX_NAMES:
        raise InvalidClientMetadata(f"give at most {MAX_NAMES} of {', '.join(names)}, all languages together")
    return found


def _web_address(name: str, uri: str) -> str:
    """A URL that may be shown to people: https only, and nothing that a browser would correct."""
    try:
        parts = urlsplit(uri)
        proper = parts.scheme.lower() == "https" and parts.hostname and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        proper = False
    if not proper or not uri.isascii() or _CONTROL.search(uri):
        raise InvalidClientMetadata(f"{name.partition('#')[0]} is an https address")
    return uri


def _contacts(unverified: Mapping[str, Any]) -> tuple[str, ...]:
    listed = unverified.get("contacts", [])
    if not isinstance(listed, list) or len(listed) > MAX_CONTACTS:
        raise InvalidClientMetadata(f"contacts is a list of at most {MAX_CONTACTS} texts")
    return tuple(_text({"contacts": one}, "contacts", 254) for one in listed)


def _text(unverified: Mapping[str, Any], name: str, limit: int) -> str:
    value = unverified.get(name, "")
    if not isinstance(value, str) or len(value) > limit or not is_printable(value):
        raise InvalidClientMetadata(f"{name.partition('#')[0][:40]} is a text of at most {limit} printable characters")
    return value


def _flag(unverified: Mapping[str, Any], name: str) -> bool:
    value = unverified.get(name, False)
    if not isinstance(value, bool):
        raise InvalidClientMetadata(f"{name} is true or false")
    return value


def certificate_members(name: CertificateName | None) -> dict[str, str]:
    """RFC 8705 section 2.1.2."""
    return {} if name is None else {member: getattr(name, to) for member, to in _NAMED.items() if getattr(name, to)}
