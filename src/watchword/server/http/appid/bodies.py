"""The three kinds of bodies that App ID reads: forms, JSON (what the Node SDK sends) and multipart forms."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from ....jose import JoseError
from ....jose.certificate_header import Presented
from ....jose.encoding import json_object
from ...protocol.errors import InvalidRequest
from ...protocol.form import MAX_FIELDS, REPEATABLE, parse_form
from ...protocol.grants.grant import Grants
from ...protocol.request import Credentials, Form, TokenRequest, credentials
from ...protocol.token_form import token_request
from ..wire import Headers
from .multipart import read_multipart


def _json_form(_: Headers, body: bytes) -> Form:
    """Members are texts; null and the empty text count as absent."""
    try:
        members = json_object(body, MAX_FIELDS)
    except JoseError as error:
        raise InvalidRequest(f"the body is not JSON as we read it: {error}") from None
    if len(members) > MAX_FIELDS:
        raise InvalidRequest(f"more than {MAX_FIELDS} parameters")
    form: dict[str, str | list[str]] = {}
    for name, value in members.items():
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise InvalidRequest("every member of the body is a text")
        form[name] = [value] if name in REPEATABLE else value
    return form


def _multipart_form(headers: Headers, body: bytes) -> Form:
    """RFC 7578, fields only: files, nesting and transfer encodings are refused."""
    form: dict[str, str | list[str]] = {}
    for name, value in read_multipart(headers.content_type or b"", body):
        if not value:
            continue
        if name in form:
            raise InvalidRequest("a parameter is repeated")
        form[name] = [value] if name in REPEATABLE else value
    return form


_READERS: dict[bytes, Callable[[Headers, bytes], Form]] = {
    b"application/json": _json_form,
    b"application/x-www-form-urlencoded": lambda _, body: parse_form(body),
    b"multipart/form-data": _multipart_form,
}


def read_fields(headers: Headers, body: bytes) -> Form:
    """The parameters. Raises `InvalidRequest`."""
    read = _READERS.get(headers.media())
    if read is None:
        raise InvalidRequest("send a form, JSON or multipart/form-data")
    if headers.content_encoding not in (None, b"identity"):
        raise InvalidRequest("request bodies with a Content-Encoding are not read")
    return read(headers, body)


def read_credentials(headers: Headers, form: Form) -> Credentials:
    """Basic is not percent-decoded here, and a secret counts the same in header and body."""
    return replace(credentials(form, headers.basic(encoded=False)), interchangeable=True)


def read_token_request(headers: Headers, body: bytes, _: Presented | None, grants: Grants, source: str) -> TokenRequest:
    """All checks that need no knowledge of the application. App ID has no client certificates."""
    form = read_fields(headers, body)
    request = token_request(form, headers.basic(encoded=False), source, request_id=headers.request_id, grants=grants)
    return replace(request, unverified_credentials=read_credentials(headers, form))
