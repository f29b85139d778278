"""What must hold for every request of every test, whatever the test itself asks: the catalogue's invariants N1 to N6.

It sits at the client's door and stays for as long as the database of the test. For each refusal by an OAuth endpoint:
the answer's shape, one log line, and a state that is what it was before. At the end: what was issued is what was
answered; nothing that was secret stands in a log line, in the audit log or in the metrics; nobody was connected to.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import httpcore
import httpx
import sqlalchemy as sa
import structlog

from watchword.server.audit.chain import events_of
from watchword.server.audit.events import TokenIssued
from watchword.server.composition.services import Services
from watchword.server.storage import schema

OAUTH = re.compile(r"/t/[^/]+/(token|introspect|revoke|register)$")
SECRET = (
    "client_secret", "client_assertion", "token", "subject_token", "actor_token", "access_token",
    "registration_access_token",
)  # fmt: skip
LEFT_OUT = {"meta", "secret_use", "audit", "checkpoint", "audit_checkpoint", "anchor", "debt"}
"""Tables that chores write beside requests."""
_COUNTED = sa.text(
    "SELECT (SELECT coalesce(max(seq), 0) FROM change) AS changes, "
    + ", ".join(
        f'(SELECT count(*) FROM "{name}") AS "{name}"' for name in schema.metadata.tables if name not in LEFT_OUT
    )
)
"""Asked twice a request: SQLAlchemy takes longer to put it together than the database takes to answer."""
SHORTEST = 20
"""Characters of a canary: what is shorter may be somewhere by chance."""


class Nowhere(httpcore.AsyncNetworkBackend):
    """The world outside of a test that does not bring one of its own: it is not there (N4)."""

    def __init__(self) -> None:
        self.wanted: list[str] = []

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> NoReturn:  # fmt: skip
        """Nobody."""
        self.wanted.append(host)
        raise OSError("no such host")

    async def resolve(self, host: str, port: int) -> list[str]:
        """No name."""
        self.wanted.append(host)
        raise OSError("no such name")


class Witness:
    """`faults`: a test breaks something that requests need, so 503 is a right answer and no state can be compared.
    `elsewhere`: tokens are asked for by another way, too."""

    def __init__(self) -> None:
        self.outside = Nowhere()
        self.faults = self.elsewhere = False
        self.issued = 0
        self.lines: list[str] = []
        self._canaries: dict[str, str] = {}
        self._under_way = self._begun = 0

    def hear(self, line: str) -> None:
        """A log line, at every level that there is."""
        self.lines.append(line)

    async def watch(self, services: Services, request: httpx.Request, ask: Any) -> httpx.Response:
        """Pass a request on and judge what comes of it."""
        self._keep(request)
        oauth = OAUTH.search(request.url.path)
        self._begun += 1
        self._under_way += 1
        first, alone = self._begun, self._under_way == 1 and oauth is not None and not self.faults
        before, said = await _state(services) if alone else Counter(), len(self.lines)
        try:
            answer: httpx.Response = await ask(request)
            await answer.aread()
        finally:
            self._under_way -= 1
        self._keep_answer(answer)
        assert answer.status_code < 500 or (self.faults and answer.status_code == 503), answer.text
        assert "set-cookie" not in answer.headers
        if answer.is_success:
            self.issued += request.url.path.endswith("/token")
        elif oauth is not None and answer.status_code not in (404, 405):
            refused_in_form(answer)
            if alone and self._begun == first:
                told = [line for line in self.lines[said:] if "request refused" in line or "Invalid HTTP" in line]
                assert len(told) == 1, told
                assert await _state(services) - before == Counter(), "a refused request changed what is kept"
        return answer

    def _keep(self, request: httpx.Request) -> None:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                value = base64.b64decode(value).decode().partition(":")[2]
            except (binascii.Error, ValueError):
                value = ""
        self._canary("authorization", value)
        for proof in request.headers.get_list("dpop"):
            self._canary("dpop", proof)
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            for name, text in parse_qsl(request.content.decode("latin-1")):
                if name in SECRET:
                    self._canary(name, text)

    def _keep_answer(self, answer: httpx.Response) -> None:
        if answer.headers.get("content-type") == "application/json" and answer.is_success and answer.content:
            told = answer.json()
            for name in SECRET:
                if isinstance(told, dict) and isinstance(told.get(name), str):
                    self._canary(name, told[name])

    def _canary(self, name: str, value: str) -> None:
        """A JWT's secret is its end: head and claims are no secret of anybody's. Of others a good part is enough."""
        part = value.rpartition(".")[2] if value.count(".") == 2 else value
        if len(part) >= SHORTEST:
            self._canaries[part[-2 * SHORTEST :]] = name

    async def end(self, services: Services, metrics: httpx.Response) -> None:
        """What can only be judged at the end."""
        assert self.outside.wanted == [], "a connection that no case asks for"
        if self.faults:
            return
        await services.upkeep.housekeeping.write_sums()
        async with services.storage.engine.connect() as connection:
            rows = (await connection.execute(sa.select(schema.audit.c.payload))).scalars().all()
        assert self.elsewhere or await self._issues(services) == self.issued
        kept = "\n".join([*self.lines, metrics.text, *(bytes(row).decode("latin-1") for row in rows)])
        assert not {name for canary, name in self._canaries.items() if canary in kept}, "a secret is on record"

    async def _issues(self, services: Services) -> int:
        """Tokens in the audit log."""
        async with services.storage.engine.connect() as connection:
            tenants = set((await connection.execute(sa.select(schema.audit.c.tenant_id))).scalars())
        found = 0
        for tenant in tenants:
            async for row in services.upkeep.audit.rows(tenant):
                found += sum(isinstance(event, TokenIssued) for event in events_of(row))
        return found


def refused_in_form(answer: httpx.Response) -> None:
    """N1 and N2."""
    told = answer.json()
    assert isinstance(told, dict)
    assert told.keys() <= {"error", "error_description", "error_uri"}, told
    assert told["error"]
    assert answer.headers["content-type"] == "application/json"
    assert "no-store" in answer.headers.get("cache-control", "")


async def _state(services: Services) -> Counter[str]:
    """How many rows each table has, and how many changes there have been."""
    async with services.storage.engine.connect() as connection:
        row = (await connection.execute(_COUNTED)).one()
    return Counter(dict(row._mapping))


_witnesses: dict[str, Witness] = {}


@contextmanager
def witness_of(database_url: str) -> Iterator[Witness]:
    """The one of this database: all nodes of a test have the same."""
    found = _witnesses.get(database_url)
    if found is not None:
        yield found
        return
    made = _witnesses[database_url] = Witness()
    try:
        yield made
    finally:
        del _witnesses[database_url]


class _Listener(logging.Handler):
    """Every log line of this process, to every witness."""

    def emit(self, record: logging.LogRecord) -> None:
        for witness in _witnesses.values():
            witness.hear(record.getMessage())


def _hear(_: Any, __: str, event: Any) -> Any:
    for witness in _witnesses.values():
        witness.hear(str(event))
    return event


logging.getLogger().addHandler(_Listener(logging.DEBUG))
logging.getLogger("uvicorn.error").setLevel(logging.INFO)
structlog.configure(
    processors=[structlog.processors.format_exc_info, _hear, structlog.dev.ConsoleRenderer(colors=False)]
)
