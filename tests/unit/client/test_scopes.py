"""Scopes of a token: as asked, fewer, more, or not said."""

from __future__ import annotations

import httpx
import pytest

from watchword.client import ClientCredentials, InvalidAnswer, Network

ISSUER = "https://id.example/t/acme"


def credentials(answered: str | None, scope: str | None = "a:read a:write") -> ClientCredentials:
    """An application whose issuer grants `answered`."""
    document = {"access_token": "t", "token_type": "Bearer", "expires_in": 300}
    if answered is not None:
        document["scope"] = answered
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=document))
    return ClientCredentials(
        ISSUER, "app", "secret", scope=scope, network=Network(endpoint=f"{ISSUER}/token", transport=transport)
    )


def test_the_scopes_that_were_asked_for() -> None:
    """RFC 6749 section 5.1: an answer without scope means the one that was asked for, in any order."""
    assert credentials(None).token().scope == "a:read a:write"
    assert credentials("a:write a:read").token().scope == "a:write a:read"
    assert credentials("all of them", None).token().scope == "all of them"
    assert credentials(None, None).token().scope is None


@pytest.mark.parametrize("answered", ["a:read", "", "b:read"])
def test_fewer_scopes(answered: str) -> None:
    """The job would start, and fail at the API with a 403 that names no reason."""
    with pytest.raises(InvalidAnswer, match="a:write"):
        credentials(answered).token()


def test_more_scopes(caplog: pytest.LogCaptureFixture) -> None:
    """A token that can do more than its caller thinks is told, and the line cannot be forged."""
    assert credentials("a:read a:write admin\x1b[2J").token()
    assert "not asked for: 'admin\\x1b[2J'" in caplog.text
