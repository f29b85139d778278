"""The rules for trusting another issuer: each check raises `Invalid` and says what would be right."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from ...jose import Algorithm, JoseError, KeySet, PublicKey, UnacceptableKey
from ...jose.encoding import json_object
from ...jose.jwk import PRIVATE_MEMBERS
from .errors import Invalid
from .trusted_issuer import IssuerKind, TrustedIssuer

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
MAX_KEYS = 10
_DOMAIN = re.compile(r"spiffe://[a-z0-9._-]{1,255}")


class Preset(Struct, frozen=True):
    """What an issuer of a kind is given unless its administrator says otherwise (decision 0034)."""

    algorithms: tuple[str, ...]
    max_life: int
    single_use: bool


PRESETS: dict[IssuerKind, Preset] = {
    "kubernetes": Preset(("RS256", "ES256"), 7_200, False),
    "github": Preset(("RS256",), 900, True),
    "gitlab": Preset(("RS256",), 7_200, False),
    "spiffe": Preset(("RS256", "ES256", "ES384"), 3_600, False),
    "oidc": Preset(("RS256", "ES256", "PS256", "EdDSA"), 3_600, False),
}


def check_issuer(issuer: TrustedIssuer) -> None:
    """On the final state. Where an address leads is not asked here."""
    if issuer.kind == "spiffe":
        if not _DOMAIN.fullmatch(issuer.issuer):
            raise Invalid("of kind spiffe the issuer is the trust domain: spiffe://example.org", field="issuer")
        if issuer.jwks_uri is None and not issuer.keys:
            raise Invalid(
                "a trust domain has no discovery: give jwks_uri (its bundle endpoint) or jwks", field="jwks_uri"
            )
    else:
        _check_url(issuer.issuer)
    if issuer.jwks_uri is not None and issuer.keys:
        raise Invalid("give jwks or jwks_uri, not both", field="jwks")
    if not issuer.algorithms or not set(issuer.algorithms) <= set(ALGORITHMS):
        raise Invalid(f"use some of {', '.join(ALGORITHMS)}", field="algorithms")
    if len(issuer.audiences) > 10 or not all(1 <= len(a) <= 500 and a.isprintable() for a in issuer.audiences):
        raise Invalid("use at most 10 audiences of 1 to 500 printable characters", field="audiences")
    if not 60 <= issuer.max_life <= 86_400:
        raise Invalid("use 60 to 86400 seconds", field="max_life")
    if not 0 <= issuer.outage <= 7 * 86_400:
        raise Invalid("use 0 to 604800 seconds", field="outage")


def _check_url(issuer: str) -> None:
    """RFC 8414 section 2: https, no query, no fragment. Whoever gives keys by value is never asked."""
    wrong = Invalid("an issuer is an https URL without query and fragment, as its tokens spell it", field="issuer")
    if not issuer.isascii() or not issuer.isprintable() or " " in issuer or "\\" in issuer or len(issuer) > 500:
        raise wrong
    try:
        parts = urlsplit(issuer)
        host = parts.hostname
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("https", "http") or not host or "@" in parts.netloc or "?" in issuer or "#" in issuer:
        raise wrong
    if parts.scheme == "http" and host not in ("127.0.0.1", "localhost"):
        raise wrong


def read_keys(jwks: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """A JWK set or a SPIFFE bundle as given by an administrator. Raises `Invalid`; keeps public members only."""
    listed = jwks.get("keys")
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        raise Invalid("give a JWK set: {'keys': [...]}", field="jwks")
    if any(isinstance(jwk, Mapping) and PRIVATE_MEMBERS & jwk.keys() for jwk in listed):
        raise Invalid("a key has private members: give the public half", field="jwks")
    try:
        found = [PublicKey.from_jwk(jwk) for jwk in _for_statements(listed)]
        KeySet(found)
    except JoseError as error:
        raise Invalid(f"a key is not acceptable: {error.rule}", field="jwks") from None
    if not 1 <= len(found) <= MAX_KEYS:
        raise Invalid(f"give 1 to {MAX_KEYS} keys that sign JWTs", field="jwks")
    return tuple(key.to_jwk() for key in found)


def key_set(issuer: TrustedIssuer) -> KeySet:
    """The keys that were given by value."""
    return KeySet(PublicKey.from_jwk(jwk) for jwk in issuer.keys)


def acceptable(unverified_jwks: bytes, algorithms: Sequence[str]) -> KeySet:
    """A fetched set or SPIFFE bundle: the keys for this issuer's algorithms. Raises a `JoseError`."""
    document = json_object(unverified_jwks)
    listed = document.get("keys")
    if isinstance(listed, list):
        document = {"keys": _for_statements(listed)}
    parsed = KeySet.parse(json.dumps(document).encode())
    found = [key for key in parsed.values() if key.algorithm in [Algorithm(name) for name in algorithms]]
    if not found:
        raise UnacceptableKey("the set has no key for the issuer's algorithms")
    return KeySet(found)


def discovered(unverified_document: bytes, issuer: str) -> str:
    """`jwks_uri` of the issuer's own discovery document (OpenID Connect Discovery 4.3). Raises a `JoseError`."""
    document = json_object(unverified_document)
    jwks_uri = document.get("jwks_uri")
    if document.get("issuer") != issuer or not isinstance(jwks_uri, str):
        raise UnacceptableKey("the discovery document is another issuer's, or has no jwks_uri")
    return jwks_uri


def _for_statements(listed: Sequence[object]) -> list[dict[str, Any]]:
    """A SPIFFE bundle marks its keys with a `use` of its own (SPIFFE Trust Domain and Bundle, 4.2.2)."""
    jwks = [dict(jwk) for jwk in listed if isinstance(jwk, Mapping)]
    return [
        {**jwk, "use": "sig"} if jwk.get("use") == "jwt-svid" else jwk for jwk in jwks if jwk.get("use") != "x509-svid"
    ]
