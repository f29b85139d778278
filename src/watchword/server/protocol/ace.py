"""Read token requests in application/ace+cbor, and write their answers (RFC 9200 section 5.8).

The parameters become the same form as those of the HTTP endpoint, so that the checks are written once. Parameters with
a number in RFC 9200 come by number only; those of other RFCs (`client_assertion`, `resource`) come as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...jose import MalformedToken
from ...jose.cbor import cbor_map
from ..registry.model import CLIENT_CREDENTIALS
from .errors import InvalidRequest, OAuthError
from .form import MAX_FIELDS, REPEATABLE
from .request import ASSERTION_TYPE, Form

CONTENT_FORMAT = 19
"""application/ace+cbor (RFC 9200 section 8.16)."""
MAX_REQUEST = 4_096
ACCESS_TOKEN, EXPIRES_IN, REQ_CNF, AUDIENCE, SCOPE, CLIENT_ID, CLIENT_SECRET = 1, 2, 4, 5, 9, 24, 25
ERROR, ERROR_DESCRIPTION, GRANT_TYPE, TOKEN_TYPE, ACE_PROFILE = 30, 31, 33, 34, 38
BEARER = 1
"""A token_type (section 8.7). Without it the type would be PoP."""
_NAMES = {
    AUDIENCE: "audience", SCOPE: "scope", CLIENT_ID: "client_id", CLIENT_SECRET: "client_secret",
    GRANT_TYPE: "grant_type",
}  # fmt: skip
_NUMBERED = frozenset({*_NAMES.values(), "req_cnf", "ace_profile"})
_BY_NAME = frozenset({"client_assertion", "client_assertion_type", "resource", "authorization_details", *_NUMBERED})
"""Parameters without a number that are read as well."""
_GRANT_TYPES = {0: "password", 1: "authorization_code", 2: CLIENT_CREDENTIALS, 3: "refresh_token"}
_ERRORS = {
    "invalid_request": 1, "invalid_client": 2, "invalid_grant": 3, "unauthorized_client": 4,
    "unsupported_grant_type": 5, "invalid_scope": 6, "unsupported_pop_key": 7, "incompatible_ace_profiles": 8,
}  # fmt: skip
"""RFC 9200 section 5.8.3. Errors without a number, such as invalid_target, become invalid_request with a reason."""


class UnsupportedPopKey(OAuthError):
    """RFC 9200 section 5.8.3."""

    error = "unsupported_pop_key"


class IncompatibleAceProfiles(OAuthError):
    """RFC 9200 section 5.8.3."""

    error = "incompatible_ace_profiles"


def read_ace(unverified_raw: bytes) -> Form:
    """The parameters as texts, by their OAuth names. Raises an `OAuthError`."""
    try:
        members = cbor_map(unverified_raw)
    except MalformedToken as error:
        raise InvalidRequest(f"the body is not a CBOR map as we read it: {error.rule}") from None
    if len(members) > MAX_FIELDS:
        raise InvalidRequest(f"more than {MAX_FIELDS} parameters")
    _check_profile(members)
    form: dict[str, str | list[str]] = {}
    for key, value in members.items():
        name = _NAMES.get(key) if isinstance(key, int) else key
        if name is None or (isinstance(key, str) and key not in _BY_NAME and not isinstance(value, str)):
            continue  # RFC 6749 section 3.2: unrecognised parameters are ignored
        if isinstance(key, str) and key in _NUMBERED:
            raise InvalidRequest(f"{key} is given by its number (RFC 9200 section 8.10)")
        text = _text(name, value)
        form[name] = [text] if name in REPEATABLE else text
    if "client_assertion" in form:
        form.setdefault("client_assertion_type", ASSERTION_TYPE)
    form.setdefault("grant_type", CLIENT_CREDENTIALS)  # RFC 9200 section 5.8: the default
    return form


def _check_profile(members: Mapping[int | str, Any]) -> None:
    """Reject requests for a profile that protects the channel in a way that is not supported."""
    if REQ_CNF in members:
        raise UnsupportedPopKey("tokens are not bound to keys over CoAP here: leave req_cnf out")
    if ACE_PROFILE in members:
        raise IncompatibleAceProfiles("no ACE profile (DTLS, OSCORE) is offered here: leave ace_profile out")


def _text(name: str, value: object) -> str:
    """A value as text; scope and client_secret may be bytes (sections 5.8.1 and 8.10), and grant_type a number."""
    if name == "grant_type" and isinstance(value, int) and not isinstance(value, bool):
        return _GRANT_TYPES.get(value, str(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} is neither a text nor a byte string")
    return value


def answer_members(access_token: bytes, expires_in: int, scope: str, *, asked: str) -> dict[int, object]:
    """RFC 9200 section 5.8.2: `scope` only when it differs from the request."""
    made: dict[int, object] = {ACCESS_TOKEN: access_token, EXPIRES_IN: expires_in, TOKEN_TYPE: BEARER}
    if scope != asked:
        made[SCOPE] = scope
    return made


def error_members(error: OAuthError) -> dict[int, object]:
    """RFC 9200 section 5.8.3."""
    return {ERROR: _ERRORS.get(error.error, _ERRORS["invalid_request"]), ERROR_DESCRIPTION: error.public}
