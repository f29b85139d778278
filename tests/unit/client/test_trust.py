"""What the client believes, and of whom: hostile answers on real sockets, clocks, proofs, secrets, issuers."""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.counting_issuer import Reply, counting_issuer, token

from watchword.client import (
    ClientCredentials,
    Clock,
    InvalidAnswer,
    IssuerNotAllowed,
    Network,
    Proven,
    SecretMissing,
    SharedSecret,
    TokenError,
    TokenRefused,
    TokenUnavailable,
    adiscover,
    discover,
    from_environment,
    from_file,
    from_keyring,
    from_systemd,
)

ISSUER = "https://id.example"


@contextmanager
def speaking(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that says what ``talk`` says, on each connection; its token endpoint."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65_536)
                    talk(connection, over)
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/token"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def drip(first: bytes, drop: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Sends ``first``, then a little at a time, for ever."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.wait(0.02):
            connection.sendall(drop)

    return talk


def once(content: bytes) -> Callable[[socket.socket, threading.Event], None]:
    return lambda connection, _over: connection.sendall(content)


BOMB = gzip.compress(b"\0" * 10_000_000)
HOSTILE = {
    "slow header": (drip(HEAD, b"X"), TokenUnavailable),
    "slow body": (drip(HEAD + b"Content-Length: 60000\r\n\r\n", b" "), TokenUnavailable),
    "says nothing": (drip(b"", b""), TokenUnavailable),
    "reset": (once(b""), TokenUnavailable),
    "half an answer": (once(HEAD + b"Content-Length: 100\r\n\r\n{"), TokenUnavailable),
    "not HTTP": (once(b"SSH-2.0-OpenSSH\r\n"), TokenUnavailable),
    "huge, without a length": (drip(HEAD + b"\r\n", b" " * 65_536), InvalidAnswer),
    "gzip bomb": (
        once(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
        InvalidAnswer,
    ),
}


@pytest.mark.parametrize(
    ("talk", "error"), [pytest.param(*case, id=f"CLI-013 {name}") for name, case in HOSTILE.items()]
)
def test_hostile_servers(talk: Callable[..., None], error: type[TokenError]) -> None:
    """A server that drips a byte a second would hold its callers for ever: httpx counts from the last byte."""
    with speaking(talk) as endpoint:
        auth = ClientCredentials(ISSUER, "an-id", "a-secret", network=Network(endpoint=endpoint, timeout=0.3, tries=1))
        with pytest.raises(error):
            auth.token()
        with pytest.raises(error):
            asyncio.run(auth.atoken())


# -- clocks and proofs --------------------------------------------------------------------------------


class Dated:
    """A proof that says when it was made, as a signed assertion does."""

    timed = True

    def __init__(self) -> None:
        self.made: list[float] = []

    def prove(self, client_id: str, issuer: str, now: float) -> Proven:
        self.made.append(now)
        return Proven(form=(("client_assertion", f"{client_id} at {now} no. {len(self.made)}"),))

    def mac(self, message: bytes) -> bytes:
        return b"\0" * 32


def strict_about_time(server_time: float, proof: Dated) -> httpx.MockTransport:
    """An issuer that refuses a proof more than a minute away from its own clock, and every one after the third."""

    def answer(_request: httpx.Request) -> httpx.Response:
        headers = {"date": formatdate(server_time, usegmt=True)}
        if abs(proof.made[-1] - server_time) > 60 or len(proof.made) > 3:
            return httpx.Response(401, json={"error": "invalid_client"}, headers=headers)
        return httpx.Response(
            200, json={"access_token": "token", "token_type": "Bearer", "expires_in": 300}, headers=headers
        )

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-014 corrected once")])
def test_a_clock_that_is_behind(_: int) -> None:
    """A device without a battery would not get a token until somebody sets its clock."""
    now, proof = [1_000_000.0], Dated()
    auth = ClientCredentials(
        ISSUER,
        "an-id",
        proof,
        network=Network(
            endpoint=f"{ISSUER}/token", transport=strict_about_time(1_000_600.0, proof), clock=Clock(now=lambda: now[0])
        ),
    )
    got = auth.token()
    assert proof.made == [1_000_000.0, 1_000_600.0]
    assert got.expires_at == 1_000_300.0  # by our own clock, which is what decides when to renew
    auth.drop(got)
    auth.drop(auth.token())
    assert proof.made[2:] == [1_000_600.0]  # what was learned is kept
    with pytest.raises(TokenRefused):
        auth.token()
    assert proof.made[3:] == [1_000_600.0]  # the clock is not the reason this time


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-014 not for ever")])
def test_a_clock_is_corrected_once(_: int) -> None:
    """A server that refuses for another reason would be asked again and again."""
    proof, asked = Dated(), []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(
            401, json={"error": "invalid_client"}, headers={"date": formatdate(1_000_600, usegmt=True)}
        )

    auth = ClientCredentials(
        ISSUER,
        "an-id",
        proof,
        network=Network(
            endpoint=f"{ISSUER}/token", transport=httpx.MockTransport(answer), clock=Clock(now=lambda: 1_000_000.0)
        ),
    )
    with pytest.raises(TokenRefused, match="clock is 600 s behind"):
        auth.token()
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("now", "words"),
    [
        pytest.param(1_000_000.0, "clock is 600 s behind", id="CLI-014 behind"),
        pytest.param(1_001_200.0, "clock is 600 s ahead", id="CLI-014 ahead"),
        pytest.param(1_000_590.0, None, id="CLI-014 near enough"),
    ],
)
def test_the_message_names_the_clock(now: float, words: str | None) -> None:
    """An operator would look for a wrong secret where the clock is wrong; a secret is not sent twice for it."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(
            401, json={"error": "invalid_client"}, headers={"date": formatdate(1_000_600, usegmt=True)}
        )

    auth = ClientCredentials(
        ISSUER,
        "an-id",
        "s",
        network=Network(
            endpoint=f"{ISSUER}/token", transport=httpx.MockTransport(answer), clock=Clock(now=lambda: now)
        ),
    )
    with pytest.raises(TokenRefused) as caught:
        auth.token()
    assert (words or "invalid_client (401)") in str(caught.value)
    assert ("clock" in str(caught.value)) == (words is not None)
    assert len(asked) == 1


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-007 a new proof for each try")])
def test_a_proof_is_never_sent_twice(_: int) -> None:
    """A server that remembers the jti would refuse the retry as a replay."""
    with counting_issuer(lambda n: Reply(503) if n < 3 else token(n)) as issuer:
        auth = ClientCredentials(issuer.url, "an-id", Dated(), network=Network(clock=Clock(sleep=lambda _s: None)))
        assert auth.token().value == "token-3"
        assert len({body for _headers, body in issuer.asked}) == 3


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-007 a reset")])
def test_a_reset_is_retried(_: int) -> None:
    """A server that restarts resets its connections: each would be a failed job."""
    count = [0]

    def talk(connection: socket.socket, _over: threading.Event) -> None:
        count[0] += 1
        if count[0] == 2:
            body = token(2).body
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    pauses: list[float] = []
    with speaking(talk) as endpoint:
        auth = ClientCredentials(
            ISSUER, "an-id", "s", network=Network(endpoint=endpoint, clock=Clock(sleep=pauses.append, rng=lambda: 0.9))
        )
        assert auth.token().value == "token-2"
    assert pauses == [pytest.approx(0.275)]  # half a second, less 45 % by chance


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-007 more patience than anyone has")])
def test_a_long_retry_after_is_the_callers(_: int) -> None:
    """A job would sleep for an hour because a server said so."""
    with counting_issuer(lambda _n: Reply(429, headers={"retry-after": "3600"})) as issuer:
        with pytest.raises(TokenUnavailable) as caught:
            ClientCredentials(issuer.url, "an-id", "s").token()
        assert (caught.value.retry_after, len(issuer.asked)) == (3600.0, 1)


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-009 307 over the wire")])
def test_a_redirect_is_not_followed(_: int) -> None:
    """RFC 9700 section 4.12: a 307 repeats the secret to whoever it names."""
    with (
        counting_issuer() as evil,
        counting_issuer(lambda _n: Reply(307, headers={"location": f"{evil.url}/token"})) as issuer,
    ):
        auth = ClientCredentials(issuer.url, "an-id", "a-secret")
        with pytest.raises(InvalidAnswer):
            auth.token()
        with pytest.raises(InvalidAnswer):
            asyncio.run(auth.atoken())
        assert evil.asked == []


@pytest.mark.parametrize("place", [pytest.param(p, id=f"CLI-015 {p}") for p in ("token_endpoint", "metadata", "API")])
def test_userinfo_is_refused_everywhere(place: str) -> None:
    """https://good@evil/ reads as good and goes to evil."""
    bad = "https://good@evil/"
    metadata = httpx.MockTransport(lambda _r: httpx.Response(200, json={"issuer": ISSUER, "token_endpoint": bad}))
    if place == "token_endpoint":
        with pytest.raises(ValueError, match="userinfo"):
            ClientCredentials(ISSUER, "an-id", "s", network=Network(endpoint=bad))
    elif place == "metadata":
        with pytest.raises(InvalidAnswer, match="userinfo"):
            ClientCredentials(ISSUER, "an-id", "s", network=Network(transport=metadata)).token()
    else:
        with pytest.raises(ValueError, match="userinfo"):
            ClientCredentials(ISSUER, "an-id", "s").check_target(bad)


# -- secrets --------------------------------------------------------------------------------------------


def test_a_mounted_secret_that_changes(tmp_path: Path) -> None:
    """A Kubernetes secret is rotated under a running pod: without a restart it would be locked out."""
    for version in ("old", "new"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "secret").write_text(f"{version}-secret\n")
    (tmp_path / "..data").symlink_to("old")
    (tmp_path / "secret").symlink_to("..data/secret")
    with counting_issuer() as issuer:
        auth = ClientCredentials(
            issuer.url, "an-id", SharedSecret(from_file(tmp_path / "secret"), "client_secret_post")
        )
        auth.drop(auth.token())
        (tmp_path / "..fresh").symlink_to("new")
        (tmp_path / "..fresh").rename(tmp_path / "..data")  # as the kubelet does
        auth.token()
        assert [b"old-secret" in body for _h, body in issuer.asked] == [True, False]
        assert b"new-secret" in issuer.asked[1][1]


@contextmanager
def surroundings(**names: str | None) -> Iterator[None]:
    """The environment, for the block."""
    before = {name: os.environ.get(name) for name in names}
    try:
        for name, value in names.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def test_secrets_from_environment_and_systemd(tmp_path: Path) -> None:
    """A unit with LoadCredential= would need a wrapper script that puts the secret into the environment."""
    (tmp_path / "watchword-client-secret").write_text("from-systemd\n")
    with surroundings(CREDENTIALS_DIRECTORY=str(tmp_path), WATCHWORD_CLIENT_SECRET="from-environment"):
        assert from_systemd()().reveal() == "from-systemd"
        assert from_environment()().reveal() == "from-environment"
    with surroundings(CREDENTIALS_DIRECTORY=None, WATCHWORD_CLIENT_SECRET=None, WATCHWORD_CLIENT_SECRET_FILE=None):
        for source in (from_systemd(), from_environment()):
            with pytest.raises(SecretMissing):
                source()


def test_from_environment_says_what_is_not_set(tmp_path: Path) -> None:
    """A newcomer would be told of a type error instead of the variable to set."""
    empty = dict.fromkeys(
        ("WATCHWORD_ISSUER", "WATCHWORD_CLIENT_ID", "WATCHWORD_CLIENT_SECRET", "WATCHWORD_CLIENT_SECRET_FILE")
    )
    with surroundings(**empty), pytest.raises(ValueError, match="WATCHWORD_ISSUER, WATCHWORD_CLIENT_ID, WATCHWORD_C"):
        ClientCredentials.from_environment()
    (tmp_path / "secret").write_text("a-secret")
    given = {**empty, "WATCHWORD_CLIENT_ID": "an-id", "WATCHWORD_CLIENT_SECRET_FILE": str(tmp_path / "secret")}
    with counting_issuer() as issuer, surroundings(**{**given, "WATCHWORD_ISSUER": issuer.url}):
        assert ClientCredentials.from_environment(scope="a").token().value == "token-1"
        assert b"scope=a" in issuer.asked[0][1]


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"x" * 9000, b"\xff\xfe"])
def test_a_file_without_a_secret(tmp_path: Path, content: bytes | None) -> None:
    """An empty file would be sent as an empty secret, and refused for a reason that misleads."""
    place = tmp_path / "secret"
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(SecretMissing) as caught:
        ClientCredentials(ISSUER, "an-id", from_file(place), network=Network(endpoint=f"{ISSUER}/token")).token()
    assert str(place) in str(caught.value)


def test_a_keyring_that_is_not_there() -> None:
    """A server has no keyring: the error would be one of a library that the caller never imported."""
    with pytest.raises(SecretMissing, match="keyring"):
        from_keyring("watchword", "an-id")()


def test_nothing_secret_is_logged_or_raised(caplog: pytest.LogCaptureFixture) -> None:
    """One line at level DEBUG, of ours or of the HTTP library, would put the secret into every log."""
    caplog.set_level(logging.DEBUG)
    clock = [1_000_000.0]
    with counting_issuer(lambda n: token(n) if n == 1 else Reply(400, b'{"error":"invalid_scope"}')) as issuer:
        auth = ClientCredentials(issuer.url, "an-id", "a-secret", network=Network(clock=Clock(now=lambda: clock[0])))
        auth.token()
        clock[0] += 290
        auth.token()
        clock[0] += 20
        with pytest.raises(TokenRefused) as caught:
            auth.token()
    basic = issuer.asked[0][0]["authorization"]
    told = caplog.text + repr(caught.value) + str(caught.value) + repr(vars(caught.value)) + repr(auth)
    assert "still valid" in caplog.text
    assert not [word for word in ("a-secret", "token-1", basic.removeprefix("Basic ")) if word in told]


# -- discovery through the API ----------------------------------------------------------------------------

API = "https://payments.example/v1/charges"
METADATA = "https://payments.example/.well-known/oauth-protected-resource/v1"
GOOD = {
    "resource": "https://payments.example/v1",
    "authorization_servers": ["https://other", ISSUER],
    "scopes_supported": ["a"],
}


def api(
    document: Any, challenge: str | None = f'Bearer realm="x", resource_metadata="{METADATA}"'
) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        assert "authorization" not in request.headers
        if "/.well-known/" in str(request.url):
            return httpx.Response(200, json=document)
        return httpx.Response(401, headers={"www-authenticate": challenge} if challenge else {})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(
    "challenge",
    [
        f'Bearer realm="x", resource_metadata="{METADATA}"',
        f'Basic realm="b", Bearer resource_metadata="{METADATA}"',
        f'DPoP algs="ES256", resource_metadata="{METADATA}"',
        "Bearer",
        None,
    ],
)
def test_an_api_leads_to_its_issuer(challenge: str | None) -> None:
    """RFC 9728: every caller would have to be told by hand which issuer an API trusts."""
    found = discover(API, [ISSUER], network=Network(transport=api(GOOD, challenge)))
    assert (found.issuer, found.resource, found.scopes) == (ISSUER, "https://payments.example/v1", ("a",))
    assert asyncio.run(adiscover(API, [ISSUER], network=Network(transport=api(GOOD, challenge)))) == found


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"authorization_servers": ["https://evil"]}, IssuerNotAllowed, id="an issuer nobody allowed"),
        pytest.param({"authorization_servers": [ISSUER + "/"]}, IssuerNotAllowed, id="nearly an allowed issuer"),
        pytest.param({"authorization_servers": [1, None]}, IssuerNotAllowed, id="issuers that are no texts"),
        pytest.param({"authorization_servers": None}, InvalidAnswer, id="no issuers"),
        pytest.param({"resource": "https://evil/v1"}, InvalidAnswer, id="another host's resource"),
        pytest.param({"resource": "https://payments.example/v"}, InvalidAnswer, id="half a path segment"),
        pytest.param({"resource": "https://payments.example/v2"}, InvalidAnswer, id="another path"),
        pytest.param({"resource": None}, InvalidAnswer, id="no resource"),
    ],
)
def test_an_api_cannot_choose_who_gets_the_secret(change: dict[str, Any], error: type[TokenError]) -> None:
    """A hostile API would name its own issuer, and be sent the secret."""
    with pytest.raises(error):
        discover(API, [ISSUER], network=Network(transport=api({**GOOD, **change})))


@pytest.mark.parametrize(
    "place",
    [
        "https://evil/.well-known/oauth-protected-resource",
        "http://payments.example/x",
        "https://payments.example@evil/x",
        "file:///x",
    ],
)
def test_an_api_cannot_send_us_elsewhere(place: str) -> None:
    """A hostile API would make its callers fetch from their internal networks."""
    with pytest.raises(InvalidAnswer):
        discover(API, [ISSUER], network=Network(transport=api(GOOD, f'Bearer resource_metadata="{place}"')))


def test_a_dead_api_is_unavailable() -> None:
    """The caller's own exception, not the HTTP library's."""
    with counting_issuer() as gone:
        url = gone.url
    with pytest.raises(TokenUnavailable, match="API"):
        discover(f"{url}/x", [ISSUER])
