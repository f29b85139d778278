"""The three kinds of bodies that App ID reads: forms, JSON (what the Node SDK sends) and multipart forms."""

from __future__ import annotations

from collections.abc import Callable
from email import policy
from email.message import MIMEPart
from email.parser import BytesParser

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

_parser = BytesParser(policy=policy.HTTP)


def _json_form(_: Headers, body: bytes) -> Form:
    """Members are texts; null counts as absent."""
    try:
        members = json_object(body)
    except JoseError as error:
        raise InvalidRequest(f"the body is not JSON as we read it: {error}") from None
    if len(members) > MAX_FIELDS:
        raise InvalidRequest(f"more than {MAX_FIELDS} parameters")
    form: dict[str, str | list[str]] = {}
    for name, value in members.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise InvalidRequest("every member of the body is a text")
        form[name] = [value] if name in REPEATABLE else value
    return form


def _multipart_form(headers: Headers, body: bytes) -> Form:
    """RFC 7578, fields only: files, nesting and transfer encodings are refused."""
    message = _parser.parsebytes(b"Content-Type: " + (headers.content_type or b"") + b"\r\n\r\n" + body)
    if not message.is_multipart() or message.defects:
        raise InvalidRequest("the multipart body is broken")
    form: dict[str, str | list[str]] = {}
    parts = list(message.iter_parts())
    if len(parts) > MAX_FIELDS:
        raise InvalidRequest(f"more than {MAX_FIELDS} parameters")
    for part in parts:
        name, value = _field(part)
        if name in form:
            raise InvalidRequest("a parameter is repeated")
        form[name] = [value] if name in REPEATABLE else value
    return form


def _field(part: MIMEPart) -> tuple[str, str]:
    name = part.get_param("name", header="content-disposition")
    plain = part.get_content_disposition() == "form-data" and part.get_filename() is None and not part.is_multipart()
    if not plain or not isinstance(name, str) or part.defects or "content-transfer-encoding" in part:
        raise InvalidRequest("each part of the multipart body is one named field")
    value = part.get_payload(decode=True)
    assert isinstance(value, bytes)
    return name, value.decode("utf-8", "surrogateescape")


_READERS: dict[bytes, Callable[[Headers, bytes], Form]] = {
    b"application/json": _json_form,
    b"application/x-www-form-urlencoded": lambda _, body: parse_form(body),
    b"multipart/form-data": _multipart_form,
}


def read_fields(headers: Headers, body: bytes) -> Form:
    """The parameters. Raises `InvalidRequest`."""
    read = _READERS.get((headers.content_type or b"").partition(b";")[0].strip().lower())
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
