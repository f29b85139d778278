"""A token request after parsing: nothing raw is left, nothing is trusted yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from ...jose import JoseError, Read, read_unverified
from ...jose.certificate_header import Presented
from ..registry.spiffe import trust_domain
from .authorization_details import Details
from .dpop import PresentedProof
from .errors import InvalidRequest

SECRET_MARKS = ("client_secret",)
ASSERTION_MARKS = ("client_assertion", "client_assertion_type")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SPIFFE_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
"""draft-ietf-oauth-spiffe-client-auth section 3.1."""
Form = Mapping[str, str | list[str]]
"""Read only: it may be remembered."""


class Credentials(Struct, frozen=True):
    """What the caller says that it is, and how it tries to prove it."""

    method: Literal[
        "client_secret_basic", "client_secret_post", "private_key_jwt", "client_secret_jwt", "tls_client_auth",
        "federated_jwt", "spiffe_jwt", "none",
    ]  # fmt: skip
    """`tls_client_auth` for every method that shows a certificate: the requests look the same."""
    unverified_client_id: str
    unverified_secret: str
    interchangeable: bool = False
    """Whether it counts the same in header and body: the App ID surface never told its applications to choose."""
    assertion: Read | None = None
    """A JWT of RFC 7523 section 2.2."""
    unverified_issuer: str = ""
    """Another issuer that made it, or the trust domain of its subject; empty: the caller itself."""
    certificate: Presented | None = None
    """Its key is the caller's, a TLS handshake showed that; whose certificate it is has not been judged."""

    def __repr__(self) -> str:
        return f"Credentials({self.method}, ...)"


class TokenRequest(Struct, frozen=True):
    """RFC 6749 section 4.4.2 with RFC 8707 `resource` and the common `audience`."""

    unverified_credentials: Credentials
    grant_type: str
    scope: str
    resources: tuple[str, ...]
    audiences: tuple[str, ...]
    source: str = ""
    request_id: str = ""
    proof: PresentedProof | None = None
    """A DPoP proof: the token is to be bound to its key (RFC 9449 section 5)."""
    details: Details = ()
    members: object = None
    """The parameters that only its grant has, as `Grant.read` made them."""


def text(form: Form, name: str) -> str:
    """A parameter that is not repeatable; empty counts as absent (RFC 6749 section 3.2)."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def credentials(form: Form, basic: tuple[str, str] | None, certificate: Presented | None = None) -> Credentials:
    """The one authentication method of a request; two are refused (RFC 6749 section 2.3).

    A certificate beside another method is none: a token can be bound to it. Alone with a `client_id` it is one.
    """
    found = _credentials(form, basic)
    if certificate is None:
        return found
    if found.method == "none" and not any(name in form for name in ASSERTION_MARKS):
        return Credentials("tls_client_auth", found.unverified_client_id, "", certificate=certificate)
    return replace(found, certificate=certificate)


def _credentials(form: Form, basic: tuple[str, str] | None) -> Credentials:
    client_id, in_body = text(form, "client_id"), "client_secret" in form
    asserted = "client_assertion" in form or "client_assertion_type" in form
    if (basic is not None) + in_body + asserted > 1:
        raise InvalidRequest("use one client authentication method, not two")
    if basic is not None:
        if client_id and client_id != basic[0]:
            raise InvalidRequest("client_id differs from the one in the Authorization header")
        return Credentials("client_secret_basic", *basic)
    if in_body:
        return Credentials("client_secret_post", client_id, text(form, "client_secret"))
    return _asserted(form, client_id) if asserted else Credentials("none", client_id, "")


def _asserted(form: Form, client_id: str) -> Credentials:
    """RFC 7521 section 4.2. What is no assertion proves nothing, and so is every other that contradicts itself."""
    unverified_assertion = text(form, "client_assertion")
    kind, nothing = text(form, "client_assertion_type"), Credentials("none", client_id, "")
    if kind not in (ASSERTION_TYPE, SPIFFE_TYPE):
        return nothing
    try:
        assertion = read_unverified(unverified_assertion)
    except JoseError:
        return nothing
    unverified_claims = assertion.unverified_claims
    unverified_subject, unverified_issuer = unverified_claims.get("sub"), unverified_claims.get("iss")
    if not isinstance(unverified_subject, str):
        return nothing
    client_id = client_id or unverified_subject
    if kind == SPIFFE_TYPE:
        # Its `iss`, if it has one, chooses no keys: the trust domain does (section 6.2.4 of the draft).
        domain = trust_domain(unverified_subject)
        return Credentials("spiffe_jwt", client_id, "", assertion=assertion, unverified_issuer=domain)
    own = client_id == unverified_subject
    if isinstance(unverified_issuer, str) and not (own and unverified_issuer == unverified_subject):
        return Credentials("federated_jwt", client_id, "", assertion=assertion, unverified_issuer=unverified_issuer)
    if not own:
        return nothing
    by_secret = str(assertion.token.unverified_header.get("alg")).startswith("HS")
    method: Literal["client_secret_jwt", "private_key_jwt"] = "client_secret_jwt" if by_secret else "private_key_jwt"
    return Credentials(method, client_id, "", assertion=assertion)
