"""What a refused caller is told: RFC words, and nothing of what the operator is told."""

from __future__ import annotations

import pytest

from watchword.resource import (
    AccessRefused,
    Forbidden,
    InsufficientScope,
    IntrospectionUnavailable,
    KeysUnavailable,
    RequestInvalid,
    RevocationsUnknown,
    TokenInvalid,
    TokenMissing,
    refusal,
)
from watchword.resource.request_id import request_id

METADATA = "https://payments.example/.well-known/oauth-protected-resource"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("refused", "status", "error", "said"),
    [
        (TokenMissing("r"), 401, "unauthorized", ""),
        (RequestInvalid("r"), 400, "invalid_request", "The request has more than one Authorization header"),
        (TokenInvalid("r"), 401, "invalid_token", "The access token is not valid here"),
        (Forbidden("r"), 403, "insufficient_scope", "The access token does not permit this"),
        (
            InsufficientScope("a:b"),
            403,
            "insufficient_scope",
            "The access token does not have the scope that is needed",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, AccessRefused) else "",
)
def test_every_challenge(refused: AccessRefused, status: int, error: str, said: str) -> None:
    """A caller that cannot tell a missing scope from a bad token throws good tokens away."""
    got = refusal(refused, realm="pay", resource_metadata=METADATA, request_id="call-17")
    words = f'error="{error}", error_description="{said}", ' if said else ""
    scope = 'scope="a:b", ' if refused.needed else ""
    expected = f'Bearer realm="pay", {words}{scope}resource_metadata="{METADATA}"'
    assert (got.status, got.document["error"], got.headers["WWW-Authenticate"]) == (status, error, expected)
    assert got.headers["X-Request-Id"] == "call-17" and "Retry-After" not in got.headers


@pytest.mark.parametrize("kind", [KeysUnavailable, IntrospectionUnavailable, RevocationsUnknown])
def test_a_503_asks_for_patience_and_not_for_a_token(kind: type[AccessRefused]) -> None:
    """A challenge would make every caller throw its good token away."""
    got = refusal(kind("the issuer is gone"))
    assert (got.status, got.headers["Retry-After"], got.document["error"]) == (503, "5", "temporarily_unavailable")
    assert "WWW-Authenticate" not in got.headers and b"gone" not in got.body


def test_a_quoted_string_cannot_be_left() -> None:
    """A realm with a quote in it would add parameters of its own, one with a line end a header."""
    got = refusal(TokenMissing("r"), realm='a", error="x"\r\nset-cookie: y\\')
    assert got.headers["WWW-Authenticate"] == 'Bearer realm="a, error=xset-cookie: y"'


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ""),
        ([("X-Request-Id", "call-17")], "call-17"),
        ([("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")], TRACE),
        ([("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"), ("x-request-id", "call-17")], "call-17"),
        ([("traceparent", f"00-{'0' * 32}-b7ad6b7169203331-01")], ""),
        ([("X-Request-Id", "a b")], ""),
        ([("X-Request-Id", "a\nb")], ""),
        ([("X-Request-Id", "call\n")], ""),
        ([("X-Request-Id", "x" * 65)], ""),
        ([("X-Request-Id", "\u0661")], ""),
    ],
)
def test_the_id_that_joins(headers: list[tuple[str, str]], expected: str) -> None:
    """A log line would be forged by whoever sends a header, or a caller's complaint could not be found in it."""
    assert request_id(headers) == expected
