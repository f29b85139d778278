"""The rules of Mosquitto's judge; that a real broker lives by them is shown in tests/brokers/test_mosquitto.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from watchword.sasl import Malformed, NotAuthorized
from watchword.sasl.message import write_message
from watchword.sasl.mosquitto import MAX_ANSWER, REFUSED, Gate, Login, admit, is_filter, is_own, read_login

NOW = 1_800_000_000.0
OWN = ("mqtt.pub:devices/dev-1/#", "mqtt.sub:devices/dev-1/set", "openid")


@dataclass(frozen=True)
class Token:
    """What a verifier found in one."""

    client_id: str = "an-id"
    scopes: frozenset[str] = frozenset(OWN)
    expires_at: float = NOW + 60
    subject: str = "an-id"


class Refusal(Exception):
    """What `watchword.resource` raises."""

    error = "invalid_token"


@dataclass
class Verifier:
    """Knows one token; what is revoked is said here."""

    token: Token = field(default_factory=Token)
    revoked: bool = False
    away: bool = False

    async def averify(self, unverified_token: str) -> Token:
        if self.away:
            raise RuntimeError("a fault of ours")
        if unverified_token != "a.b.c" or self.revoked:
            raise Refusal
        return self.token

    def check(self, _token: Token) -> None:
        if self.away:
            raise RuntimeError("not known")
        if self.revoked:
            raise Refusal


def gate(verifier: Verifier) -> Gate[Token]:
    return Gate(verifier.averify, now=lambda: NOW, check=verifier.check)


def test_a_yes_names_every_topic_and_the_end() -> None:
    """The plugin would allow something else than the token says, or for longer."""
    assert admit(Login("an-id", b"a.b.c"), Token()) == (
        b"yes 1800000060\npub devices/dev-1/#\nsub devices/dev-1/set\nend\n"
    )


@pytest.mark.parametrize(
    ("login", "token"),
    [
        ("another-id", Token()),
        ("an-id-2", Token()),
        ("an-id/\n1", Token()),
        ("an-id", Token(scopes=frozenset({"openid"}))),
        ("an-id", Token(scopes=frozenset({"mqtt.pub:devices/#/x"}))),
        ("an-id", Token(scopes=frozenset({"mqtt.pub:"}))),
        ("an-id", Token(scopes=frozenset(f"mqtt.pub:{number:0200}" for number in range(MAX_ANSWER // 200)))),
    ],
)
def test_a_good_token_that_lets_nobody_in(login: str, token: Token) -> None:
    """Another's session would be taken over, or rights be handed to the broker that it reads in its own way."""
    with pytest.raises(NotAuthorized):
        admit(Login(login, b"a.b.c"), token)


@pytest.mark.parametrize("own", ["an-id", "an-id/1", "an-id/a worker"])
def test_client_ids_of_ones_own(own: str) -> None:
    """A service with two workers could not connect both."""
    assert is_own(own, "an-id")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b", True), ("#", True), ("+", True), ("+/b/#", True), ("/", True), ("$SYS/#", True),
        ("", False), ("a#", False), ("#/a", False), ("a/+b", False), ("a+", False), ("a\nsub #", False),
        ("$share/g/#", False),
    ],
)  # fmt: skip
def test_what_is_a_topic_filter(text: str, expected: bool) -> None:
    """A scope with a line feed would add rights of its own choice to the plugin's list."""
    assert is_filter(text) is expected


@pytest.mark.parametrize(("kind", "client_id"), [(b"w", b"an-id"), (b"x", b"an-id"), (b"p", b"\xff")])
def test_questions_that_are_none(kind: bytes, client_id: bytes) -> None:
    """A plugin of another version would be answered as if it had asked what we think."""
    with pytest.raises(Malformed):
        read_login(kind, client_id, b"a.b.c")


async def test_logins_of_both_kinds() -> None:
    """A device could not log in, or with anything; a refusal by SASL would not say what is wrong."""
    asked = gate(Verifier())
    assert (await asked.answer(Login("an-id", b"a.b.c"))).startswith(b"yes ")
    assert await asked.answer(Login("an-id", b"x.y.z")) == REFUSED
    assert await asked.answer(Login("an-id", b"")) == REFUSED
    assert (await asked.answer(Login("an-id", write_message("a.b.c"), enhanced=True))).startswith(b"yes ")
    assert await asked.answer(Login("an-id", write_message("x.y.z"), enhanced=True)) == (
        b'ask\n{"status":"invalid_token"}'
    )
    assert await asked.answer(Login("an-id", b"a.b.c", enhanced=True)) == REFUSED
    assert await asked.answer(Login("an-id", write_message("a.b.c", authzid="root"), enhanced=True)) == REFUSED


async def test_a_fault_is_a_no(caplog: pytest.LogCaptureFixture) -> None:
    """A judge that stumbles would let somebody in, or leave no trace of why nobody can log in."""
    assert await gate(Verifier(away=True)).answer(Login("an-id", b"a.b.c")) == REFUSED
    assert "a fault of ours" in caplog.text
    assert "a.b.c" not in caplog.text


@asynccontextmanager
async def served(asked: Gate[Token], path: Path) -> AsyncIterator[None]:
    server = await asyncio.start_unix_server(asked.serve, path)
    async with server:
        yield


def question(kind: bytes, client_id: bytes, credential: bytes) -> bytes:
    return b"".join(
        [kind, len(client_id).to_bytes(2), client_id, len(credential).to_bytes(2), credential]
    )  # as contrib/mosquitto writes it


async def said(path: Path, asked: bytes, *, closing: bool = False) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(asked)
    if closing:
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


async def test_over_the_socket(tmp_path: Path) -> None:
    """The bytes of the plugin would be read in another way than it writes them; half a question would be a login."""
    async with served(gate(Verifier()), tmp_path / "judge"):
        whole = question(b"p", b"an-id", b"a.b.c")
        assert (await said(tmp_path / "judge", whole)).startswith(b"yes ")
        assert await said(tmp_path / "judge", whole[:-1], closing=True) == b""
        assert await said(tmp_path / "judge", question(b"x", b"an-id", b"a.b.c")) == b""
        assert await said(tmp_path / "judge", b"", closing=True) == b""


async def test_what_is_revoked_is_told_to_every_watcher(tmp_path: Path) -> None:
    """A revoked device would stay connected; or an issuer that is away for a moment would end the whole fleet."""
    verifier = Verifier()
    asked = gate(verifier)
    async with served(asked, tmp_path / "judge"):
        watching = [await asyncio.open_unix_connection(tmp_path / "judge") for _ in "ab"]
        for _, writer in watching:
            writer.write(question(b"w", b"", b""))
            await writer.drain()
        assert (await said(tmp_path / "judge", question(b"p", b"an-id/1", b"a.b.c"))).startswith(b"yes ")
        verifier.away = True
        asked.end_once()
        verifier.away, verifier.revoked = False, True
        asked.end_once()
        asked.end_once()
        for reader, writer in watching:
            assert await asyncio.wait_for(reader.readline(), 20) == b"an-id/1\n"
            writer.close()
            assert await asyncio.wait_for(reader.read(), 20) == b""


async def test_what_is_revoked_before_anybody_watches(tmp_path: Path) -> None:
    """Between two services, or in a broker's first second, a revocation would be told to nobody and be forgotten."""
    verifier = Verifier()
    asked = gate(verifier)
    async with served(asked, tmp_path / "judge"):
        await asked.answer(Login("an-id", b"a.b.c"))
        verifier.revoked = True
        asked.end_once()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "judge")
        writer.write(question(b"w", b"", b""))
        task = asyncio.create_task(asked.end_the_revoked(every=0.01))
        assert await asyncio.wait_for(reader.readline(), 20) == b"an-id\n"
        task.cancel()
        writer.close()
        await asyncio.wait_for(reader.read(), 20)


async def test_an_expired_login_is_forgotten() -> None:
    """The list of who is in would grow with every device that ever was."""
    verifier = Verifier(token=Token(expires_at=NOW))
    asked = gate(verifier)
    await asked.answer(Login("an-id", b"a.b.c"))
    asked.end_once()
    assert not asked._live
