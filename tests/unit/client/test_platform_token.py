"""Identities that a platform gives: what is sent, and what is said when there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from tests.support.counting_issuer import counting_issuer

from watchword.client import (
    ClientCredentials,
    PlatformToken,
    SecretMissing,
    from_github_actions,
    from_gitlab,
    from_kubernetes,
)

JWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SVID = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"


@contextmanager
def surroundings(**given: str) -> Iterator[None]:
    """The environment of a job."""
    names = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "WATCHWORD_ID_TOKEN")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(given)
    try:
        yield
    finally:
        for name in given:
            del os.environ[name]
        os.environ.update(before)


@pytest.mark.parametrize(("spiffe", "kind"), [(False, JWT), (True, SVID)])
def test_a_file_that_the_platform_replaces(tmp_path: Path, spiffe: bool, kind: str) -> None:
    """After an hour the pod would send a token that has expired, until somebody restarts it."""
    file = tmp_path / "token"
    with counting_issuer() as issuer:
        auth = ClientCredentials(issuer.url, "charger", PlatformToken(from_kubernetes(file), spiffe=spiffe))
        for text in ("first", "second"):
            file.write_text(f"{text}\n")
            auth.drop(auth.token())
        forms = [parse_qs(body.decode()) for _, body in issuer.asked]
    assert [form["client_assertion"] for form in forms] == [["first"], ["second"]]
    assert [form["client_assertion_type"] for form in forms] == [[kind]] * 2
    assert [form["client_id"] for form in forms] == [["charger"]] * 2
    assert all("authorization" not in headers for headers, _ in issuer.asked)


def test_a_job_of_gitlab() -> None:
    """The job's own variable would not be found."""
    with surroundings(WATCHWORD_ID_TOKEN="a.b.c"):
        assert from_gitlab()().reveal() == "a.b.c"
    with surroundings(), pytest.raises(SecretMissing, match="WATCHWORD_ID_TOKEN"):
        from_gitlab()()


RUNNER = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://runner.example/token?api=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "own"}


def test_a_job_of_github() -> None:
    """The token would be addressed to somebody else, who could use it here; or the runner's own be sent around."""
    asked: list[httpx.Request] = []

    def runner(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"value": "a.b.c", "count": 3})

    source = from_github_actions("https://id.example/t/acme", transport=httpx.MockTransport(runner))
    with surroundings(**RUNNER):
        assert source().reveal() == "a.b.c"
    assert dict(asked[0].url.params) == {"api": "2", "audience": "https://id.example/t/acme"}
    assert asked[0].headers["authorization"] == "Bearer own"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(403, json={"value": "a.b.c"}), httpx.Response(302, headers={"location": "https://evil.example"}),
        httpx.Response(200, text="no"), httpx.Response(200, json=[]), httpx.Response(200, json={"value": 1}),
        httpx.Response(200, json={"value": ""}), httpx.Response(200, json={"value": "x" * 70_000}),
    ],
    ids=["forbidden", "redirect", "text", "list", "number", "empty", "too large"],
)  # fmt: skip
def test_a_runner_that_gives_none(answer: httpx.Response) -> None:
    """The caller would be told of a KeyError; or its bearer go where a redirect leads."""
    source = from_github_actions("x", transport=httpx.MockTransport(lambda _: answer))
    with surroundings(**RUNNER), pytest.raises(SecretMissing, match="GitHub gave no token"):
        source()


def test_outside_of_github() -> None:
    """Whoever forgot the permission would look for the reason at the issuer."""
    with surroundings(), pytest.raises(SecretMissing, match="id-token: write"):
        from_github_actions("x")()
    assert "a.b.c" not in repr(PlatformToken(from_gitlab()))
