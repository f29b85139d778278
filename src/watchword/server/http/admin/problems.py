"""Errors of the admin API: RFC 9457 problem details."""

from __future__ import annotations

from ...protocol.errors import OAuthError, without_frames
from ...registry.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RegistryError,
    VersionMismatch,
)
from ...service.ports import StorageUnavailable
from ..wire import NO_STORE, Header, Send, answer, encode_json, public_text

_PROBLEM: Header = (b"content-type", b"application/problem+json")
_STATUS: dict[type[RegistryError], tuple[int, str]] = {
    Invalid: (400, "the request breaks a rule"),
    NotFound: (404, "not found"),
    Conflict: (409, "conflict"),
    Forbidden: (403, "forbidden"),
    VersionMismatch: (412, "changed meanwhile"),
}


class Problem(Exception):
    """An answer that is not a success."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        field: str | None = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.field, self.headers = (
            status,
            title,
            detail,
            field,
            headers,
        )


def problem_of(error: Exception) -> Problem:
    """The one place that says which error is which status."""
    without_frames(error)
    if isinstance(error, Problem):
        return error
    if isinstance(error, RegistryError):
        status, title = _STATUS[type(error)]
        return Problem(status, title, error.public, field=error.field)
    if isinstance(error, StorageUnavailable):
        return Problem(503, "the database is away", "try again", headers=((b"retry-after", b"1"),))
    if isinstance(error, OAuthError):
        return Problem(error.status, error.error, error.public)
    raise error


def unauthorized(
    error: str, description: str, *, scope: str = "", status: int = 401, told: str = "Bearer",
    headers: tuple[Header, ...] = (),
) -> Problem:  # fmt: skip
    """RFC 6750 section 3, RFC 9449 section 7.1. `told` is how the challenge begins: a scheme and what belongs to it."""
    first = f"{told}, " if "=" in told else f"{told} "
    challenge = f'{first}error="{error}", error_description="{public_text(description)}"'
    if scope:
        challenge += f', scope="{scope}"'
    return Problem(status, error, description, headers=((b"www-authenticate", challenge.encode()), *headers))


async def answer_problem(send: Send, problem: Problem, request_id: str) -> None:
    """RFC 9457 section 3."""
    body: dict[str, object] = {
        "type": "about:blank", "title": problem.title, "status": problem.status, "detail": problem.detail,
    }  # fmt: skip
    if problem.field:
        body["field"] = problem.field
    if request_id:
        body["request_id"] = request_id
    await answer(send, problem.status, encode_json(body), (*NO_STORE, *problem.headers), _PROBLEM)
