"""The form of a token request -> `TokenRequest`."""

from __future__ import annotations

from ...jose.certificate_header import Presented
from ..registry.model import TOKEN_EXCHANGE
from .authorization_details import read_details
from .errors import InvalidRequest
from .request import Exchange, Form, TokenRequest, credentials, text


def token_request(
    form: Form,
    basic: tuple[str, str] | None,
    source: str = "",
    request_id: str = "",
    certificate: Presented | None = None,
) -> TokenRequest:
    """Every gap that can be seen without knowing the application."""
    resources, grant_type = form.get("resource", []), text(form, "grant_type")
    return TokenRequest(
        credentials(form, basic, certificate),
        grant_type,
        text(form, "scope"),
        tuple(resources) if isinstance(resources, list) else (),
        _audiences(form, grant_type) if "audience" in form else (),
        source,
        request_id,
        None,
        read_details(text(form, "authorization_details")) if form.get("authorization_details") else (),
        _exchange(form) if grant_type == TOKEN_EXCHANGE else None,
    )


def _audiences(form: Form, grant_type: str) -> tuple[str, ...]:
    found = form["audience"]
    listed = [found] if isinstance(found, str) else found
    if len(listed) > 1 and grant_type != TOKEN_EXCHANGE:
        raise InvalidRequest("a parameter is repeated")
    return tuple(one for one in listed if one)


def _exchange(form: Form) -> Exchange:
    return Exchange(
        text(form, "subject_token"),
        text(form, "subject_token_type"),
        text(form, "actor_token"),
        text(form, "actor_token_type"),
        text(form, "requested_token_type"),
        unverified_context=text(form, "request_context"),
        unverified_details=text(form, "request_details"),
    )
