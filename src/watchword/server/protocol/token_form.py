"""Read a token request from its form, with the parameters that its grant declares."""

from __future__ import annotations

from ...jose.certificate_header import Presented
from .authorization_details import read_details
from .errors import InvalidRequest
from .grants import GRANTS, REPEATABLE_BY_SOME
from .grants.grant import Grant, Grants
from .request import Form, TokenRequest, credentials, text


def token_request(
    form: Form,
    basic: tuple[str, str] | None,
    source: str = "",
    request_id: str = "",
    certificate: Presented | None = None,
    grants: Grants = GRANTS,
) -> TokenRequest:
    """All checks that need no knowledge of the application. `grants` are those of the surface.

    Raises `InvalidRequest`, `InvalidAuthorizationDetails`. The verb refuses an unknown grant type, after it has
    authenticated the application.
    """
    resources, grant_type = form.get("resource"), text(form, "grant_type")
    grant, proof = grants.get(grant_type), credentials(form, basic, certificate)
    if not REPEATABLE_BY_SOME.isdisjoint(form):
        _check_repetitions(form, grant)
    return TokenRequest(
        proof,
        grant_type,
        text(form, "scope"),
        tuple(resources) if isinstance(resources, list) else (),
        _texts(form, "audience") if "audience" in form else (),
        source,
        request_id,
        None,
        read_details(text(form, "authorization_details")) if form.get("authorization_details") else (),
        grant.read(form) if grant is not None and grant.read is not None else None,
    )


def _check_repetitions(form: Form, grant: Grant | None) -> None:
    for name in REPEATABLE_BY_SOME if grant is None else REPEATABLE_BY_SOME - grant.repeatable:
        value = form.get(name)
        if isinstance(value, list) and len(value) > 1:
            raise InvalidRequest("a parameter is repeated")


def _texts(form: Form, name: str) -> tuple[str, ...]:
    """The values of a parameter that may be repeated; empty ones count as absent."""
    found = form[name]
    return tuple(one for one in ([found] if isinstance(found, str) else found) if one)
