"""The command line's requests to the admin API when the connection breaks before the answer."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
import typer

from watchword.cli.api_client import BIGGEST_ANSWER, AdminClient, Refused

Answer = Callable[[httpx.Request], httpx.Response]


class Server:
    """Answers each request with the next of these steps, and remembers the keys that came."""

    def __init__(self, *steps: Answer) -> None:
        self._steps, self.keys, self.bodies = list(steps), list[str](), list[bytes]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        self.keys.append(request.headers.get("idempotency-key", ""))
        self.bodies.append(request.content)
        return self._steps.pop(0)(request)


class Client(AdminClient):
    """The same without profile and token."""

    def __init__(self, server: Server) -> None:
        self.base = "https://id.example"
        self._http = httpx.Client(base_url=self.base, transport=httpx.MockTransport(server))


def made(request: httpx.Request) -> httpx.Response:
    """It was created."""
    return httpx.Response(201, json={"client_id": "c"})


def lost(kind: type[httpx.TransportError]) -> Answer:
    """The connection breaks."""

    def broken(request: httpx.Request) -> httpx.Response:
        raise kind("broken", request=request)

    return broken


@pytest.mark.parametrize("kind", [httpx.ReadError, httpx.ReadTimeout, httpx.WriteError, httpx.RemoteProtocolError])
def test_a_lost_answer_is_asked_for_again(kind: type[httpx.TransportError]) -> None:
    """`app create` would end without the secret of an application that exists, or create a second one."""
    server = Server(lost(kind), made)
    assert Client(server).create("/applications", {"name": "made"}) == {"client_id": "c"}
    assert server.keys[0] == server.keys[1]
    assert server.keys[0].strip('"')
    assert server.bodies[0] == server.bodies[1]


def test_each_creation_has_its_own_key() -> None:
    """The second application would be answered with the first one."""
    server = Server(made, made)
    client = Client(server)
    client.create("/applications", {"name": "made"})
    client.create("/applications", {"name": "made"})
    assert server.keys[0] != server.keys[1]


def test_it_asks_again_once() -> None:
    """A command would hang at a server that breaks every connection."""
    server = Server(lost(httpx.ReadError), lost(httpx.ReadError), made)
    with pytest.raises(typer.Exit):
        Client(server).create("/applications", {"name": "made"})
    assert len(server.keys) == 2


def test_what_was_not_sent_is_not_repeated() -> None:
    """A server that is down would be asked twice by every command."""
    server = Server(lost(httpx.ConnectError), made)
    with pytest.raises(typer.Exit):
        Client(server).create("/applications", {"name": "made"})
    assert len(server.keys) == 1


def test_changes_are_not_repeated() -> None:
    """The server protects creations only: another change might be made twice."""
    server = Server(lost(httpx.ReadError), made)
    with pytest.raises(Refused):
        Client(server).ask("POST", "/devices/bulk")
    assert server.keys == [""]


def answering(content: bytes, status: int = 200) -> Answer:
    """Each time the same."""
    return lambda request: httpx.Response(status, headers={"content-type": "application/json"}, content=content)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"1", b"\xff", b'"x"'])
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_is_none_is_told(content: bytes, status: int) -> None:
    """A wrong address, or a proxy's page, would be a traceback."""
    with pytest.raises(Refused, match="not JSON"):
        Client(Server(answering(content, status))).ask("GET", "/applications")


def test_an_answer_without_end_is_not_read() -> None:
    """A server that is not ours would fill the memory of the administrator's machine."""
    with pytest.raises(Refused, match="longer"):
        Client(Server(answering(b" " * (BIGGEST_ANSWER + 1)))).ask("GET", "/applications")


def test_a_list_without_end_ends() -> None:
    """A cursor that leads back to its own page would be asked for, for ever."""
    page = answering(b'{"items": [], "next": "again"}')
    with pytest.raises(typer.Exit):
        list(Client(Server(page, page, page)).pages("/applications"))
