"""Check the settings of a trusted issuer, and read its keys from a JWK set or SPIFFE bundle."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from ...jose import Algorithm, JoseError, KeySet, PublicKey, UnacceptableKey
from ...jose.certificates import Certificate, TrustAnchors, UnacceptableCertificate, read_pem
from ...jose.encoding import json_object
from ...jose.jwk import PRIVATE_MEMBERS
from .client_keys import for_keeping
from .errors import Invalid
from .spiffe import is_trust_domain
from .trusted_issuer import IssuerKind, TrustedIssuer

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
MAX_KEYS = 20
_KIND_OF = {"https://token.actions.githubusercontent.com": "github", "https://gitlab.com": "gitlab"}
"""Issuers from which everyone can get a token: rules for them must fix the claims that their kind demands."""


class Preset(Struct, frozen=True):
    """The defaults for issuers of a kind (decision 0034)."""

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


class Bundle(Struct, frozen=True):
    """The keys that verify an issuer's JWTs, and the CAs that verify its X.509-SVIDs."""

    keys: KeySet = KeySet([])
    anchors: TrustAnchors = TrustAnchors([])


NO_BUNDLE = Bundle()


def check_issuer(issuer: TrustedIssuer) -> None:
    """Check the complete record. Does not resolve addresses. Raises `Invalid`."""
    if issuer.kind == "spiffe":
        if not is_trust_domain(issuer.issuer):
            raise Invalid("of kind spiffe the issuer is the trust domain: spiffe://example.org", field="issuer")
        if issuer.jwks_uri is None and not (issuer.keys or issuer.authorities):
            raise Invalid(
                "a trust domain has no discovery: give jwks_uri, its bundle endpoint, or jwks", field="jwks_uri"
            )
    else:
        _check_url(issuer.issuer)
        _check_kind(issuer)
    if issuer.jwks_uri is not None and (issuer.keys or issuer.authorities):
        raise Invalid("give jwks or jwks_uri, not both", field="jwks")
    if not issuer.algorithms or not set(issuer.algorithms) <= set(ALGORITHMS):
        raise Invalid(f"use some of {', '.join(ALGORITHMS)}", field="algorithms")
    if issuer.keys and not any(key["alg"] in issuer.algorithms for key in issuer.keys):
        raise Invalid(f"none of the keys is for {', '.join(issuer.algorithms)}", field="jwks")
    if len(issuer.audiences) > 10 or not all(1 <= len(a) <= 500 and a.isprintable() for a in issuer.audiences):
        raise Invalid("use at most 10 audiences of 1 to 500 printable characters", field="audiences")
    if not 60 <= issuer.max_life <= 86_400:
        raise Invalid("use 60 to 86400 seconds", field="max_life")


def _check_url(issuer: str) -> None:
    """RFC 8414 section 2: https, no query, no fragment. With keys given by value the URL is never fetched."""
    wrong = Invalid("an issuer is an https URL without query and fragment, as its tokens spell it", field="issuer")
    if not issuer.isascii() or not issuer.isprintable() or " " in issuer or "\\" in issuer or len(issuer) > 500:
        raise wrong
    try:
        parts = urlsplit(issuer)
        host = parts.hostname
    except ValueError:
        raise wrong from None
    if not host or "@" in parts.netloc or "?" in issuer or "#" in issuer:
        raise wrong
    if parts.scheme != "https" and (parts.scheme != "http" or host not in ("127.0.0.1", "localhost")):
        raise wrong


def _check_kind(issuer: TrustedIssuer) -> None:
    for known, kind in _KIND_OF.items():
        if (issuer.issuer + "/").lower().startswith(known + "/") and issuer.kind != kind:
            raise Invalid(f"this issuer is of kind {kind}", field="kind")


def read_keys(jwks: Mapping[str, Any]) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """Read a JWK set or SPIFFE bundle from an administrator: public JWKs, and CA certificates (PEM).

    Raises `Invalid`.
    """
    listed = jwks.get("keys")
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not 1 <= len(listed) <= MAX_KEYS:
        raise Invalid(f"give a JWK set of 1 to {MAX_KEYS} keys: {{'keys': [...]}}", field="jwks")
    if not all(isinstance(jwk, Mapping) for jwk in listed):
        raise Invalid("a key is a JSON object", field="jwks")
    if any(PRIVATE_MEMBERS & jwk.keys() for jwk in listed):
        raise Invalid("a key has private members: give the public half", field="jwks")
    try:
        found = KeySet(PublicKey.from_jwk(jwk).check_for_keeping() for jwk in _for_statements(listed))
        authorities = _authorities(listed)
    except JoseError as error:
        raise Invalid(f"a key is not acceptable: {error.rule}", field="jwks") from None
    return tuple(key.to_jwk() for key in found.values()), tuple(one.to_pem() for one in authorities)


def given_bundle(issuer: TrustedIssuer) -> Bundle:
    """The keys and CAs that were given by value."""
    read = [certificate for pem in issuer.authorities for certificate in read_pem(pem.encode())]
    return Bundle(KeySet(PublicKey.from_jwk(key) for key in issuer.keys), TrustAnchors(read))


def fetched_bundle(unverified_jwks: bytes, issuer: TrustedIssuer) -> Bundle:
    """The keys of a JWK set or SPIFFE bundle that fit the issuer's algorithms. Raises a `JoseError` without any."""
    listed = json_object(unverified_jwks).get("keys")
    jwks = [jwk for jwk in listed if isinstance(jwk, dict)] if isinstance(listed, list) else []
    parsed = KeySet.parse(json.dumps({"keys": _for_statements(jwks)}).encode())
    wanted = [Algorithm(name) for name in issuer.algorithms]
    keys = for_keeping(key for key in parsed.values() if key.algorithm in wanted)
    authorities = _authorities(jwks) if issuer.kind == "spiffe" else []
    if not keys and not authorities:
        raise UnacceptableKey("the set has no key for the issuer's algorithms")
    return Bundle(KeySet(keys), TrustAnchors(authorities))


def discovery_uri(issuer: TrustedIssuer) -> str:
    """OpenID Connect Discovery section 4."""
    return issuer.issuer.rstrip("/") + "/.well-known/openid-configuration"


def discovered(unverified_document: bytes, issuer: TrustedIssuer) -> str:
    """`jwks_uri` of the issuer's own discovery document (section 4.3). Raises a `JoseError`."""
    document = json_object(unverified_document)
    jwks_uri = document.get("jwks_uri")
    if document.get("issuer") != issuer.issuer or not isinstance(jwks_uri, str):
        raise UnacceptableKey("the discovery document is another issuer's, or has no jwks_uri")
    return jwks_uri


def _for_statements(jwks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The JWT keys of a SPIFFE bundle, which have their own `use` (SPIFFE Trust Domain and Bundle, 4.2.2)."""
    named = [{**jwk, "use": "sig"} if jwk.get("use") == "jwt-svid" else dict(jwk) for jwk in jwks]
    return [jwk for jwk in named if jwk.get("use") not in ("x509-svid", "wit-svid")]


def _authorities(jwks: Sequence[Mapping[str, Any]]) -> list[Certificate]:
    """The certificate of each `x509-svid` key: its `x5c` holds exactly one. Raises a `JoseError`."""
    found = []
    for jwk in jwks:
        if jwk.get("use") != "x509-svid":
            continue
        try:
            (der,) = (base64.b64decode(text, validate=True) for text in jwk.get("x5c") or ())
        except (ValueError, TypeError):
            raise UnacceptableCertificate("an x509-svid key has one certificate in x5c") from None
        certificate = Certificate(der)
        certificate.check_is_authoritys()
        found.append(certificate)
    return found
