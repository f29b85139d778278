"""The database goes away, hangs, turns read-only, loses races: never a wrong yes, never a lost promise, never a hang."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy.exc import SQLAlchemyError
from tests.chaos.test_kill import token_id
from tests.flows.cli.test_command_line import serving, watchword
from tests.support.instance import ISSUER, Instance, instance
from tests.support.postgres import Postgres
from tests.support.served import command_of, descendants

from watchword.server.storage.migrate import migrate


@pytest.fixture
def cluster() -> Iterator[Postgres]:
    """A PostgreSQL that this test may break."""
    server = Postgres.start(own=True)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
async def ww(tmp_path: Path, postgres_dsn: str) -> AsyncIterator[Instance]:
    """An instance in this process, on PostgreSQL."""
    async with instance(tmp_path, postgres_dsn) as running:
        yield running


async def execute(dsn: str, *statements: str) -> None:
    """As the database's owner."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


class Load:
    """Clients that ask for tokens without a pause, and what they were answered."""

    def __init__(self, base: str, credentials: tuple[str, str]) -> None:
        self.base, self.credentials = base, credentials
        self.tokens: list[str] = []
        self.away = 0
        self.wrong: list[str] = []
        self.stop = False

    async def client(self) -> None:
        """One of them; a request that takes five seconds is a wrong one."""
        async with httpx.AsyncClient(timeout=5) as http:
            while not self.stop:
                try:
                    answer = await http.post(
                        f"{self.base}/t/default/token", data={"grant_type": "client_credentials"}, auth=self.credentials
                    )
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))
                    continue
                if answer.status_code == 200:
                    self.tokens.append(answer.json()["access_token"])
                elif (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable"):
                    assert int(answer.headers["retry-after"]) >= 1
                    self.away += 1
                    await asyncio.sleep(0.02)
                else:
                    self.wrong.append(f"{answer.status_code} {answer.text}")

    async def until(self, more: int) -> None:
        """Wait for so many more tokens, at most ten seconds."""
        wanted = len(self.tokens) + more
        async with asyncio.timeout(10):
            while len(self.tokens) < wanted:
                await asyncio.sleep(0.01)


def credentials_in(folder: Path) -> tuple[str, str]:
    """The administrator's, from the profile."""
    profile = dict(line.split(" = ") for line in (folder / "profile.toml").read_text().splitlines())
    return profile["client_id"].strip('"'), profile["client_secret"].strip('"')


async def under_load(load: Load, cluster: Postgres) -> None:
    """Kill one backend, restart the cluster, stop it in its tracks; each time it comes back by itself."""
    clients = [asyncio.ensure_future(load.client()) for _ in range(6)]
    async with httpx.AsyncClient(timeout=5) as http:
        await load.until(50)
        os.kill(cluster.backends()[0], signal.SIGKILL)
        await load.until(50)
        await asyncio.to_thread(cluster.restart)
        await load.until(50)
        frozen, before = cluster.pids(), load.away
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        async with asyncio.timeout(10):
            while load.away == before or (await http.get(f"{load.base}/health/ready")).status_code != 503:
                await asyncio.sleep(0.05)
        assert (await http.get(f"{load.base}/health/live")).status_code == 200
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        await load.until(50)
    load.stop = True
    await asyncio.gather(*clients)


def test_postgres_is_killed_restarted_and_frozen(tmp_path: Path, cluster: Postgres) -> None:
    """DBF-001 DBF-003: a failover would need a restart of Watchword, lose tokens, or hang every caller."""
    dsn = cluster.fresh_database()
    with serving(tmp_path, "--database", dsn) as base:
        load = Load(base, credentials_in(tmp_path))
        asyncio.run(under_load(load, cluster))
    assert load.wrong == []
    assert load.away > 0
    recorded = watchword(tmp_path, "audit", "export", "--database", dsn).stdout
    assert [token for token in load.tokens if token_id(token) not in recorded] == []
    assert watchword(tmp_path, "audit", "verify", "--database", dsn).returncode == 0


async def test_a_read_only_database(ww: Instance, postgres_dsn: str) -> None:
    """DBF-004: after a failover to a standby, nothing that must be recorded is handed out; what is read goes on."""
    headers = await ww.bearer()
    ww.witness.faults = True
    name = postgres_dsn.rpartition("/")[2]
    drop = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    await execute(postgres_dsn, f"ALTER DATABASE {name} SET default_transaction_read_only = on", drop)
    apps, body = f"{ISSUER[:-10]}/api/v1/applications", {"name": "new"}
    answers = [await ww.token(ww.admin) for _ in range(2)]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(503, "temporarily_unavailable")}
    assert {(await ww.http.post(apps, json=body, headers=headers)).status_code for _ in range(6)} == {503}
    await ww.http.get(apps, headers=headers)
    assert (await ww.http.get(apps, headers=headers)).status_code == 200
    undo = "SET default_transaction_read_only = off"
    await execute(postgres_dsn, undo, f"ALTER DATABASE {name} SET default_transaction_read_only = off", drop)
    for _ in range(6):
        await ww.token(ww.admin)
    assert (await ww.token(ww.admin)).status_code == 200


async def test_all_connections_are_taken(tmp_path: Path, postgres_dsn: str) -> None:
    """DBF-005: another program that takes every connection would make Watchword hang, or fail for good."""
    drop = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
    elsewhere, name = postgres_dsn.rpartition("/")[0] + "/postgres", postgres_dsn.rpartition("/")[2]
    async with instance(tmp_path, postgres_dsn) as ww:
        ww.witness.faults = True
        taken: list[Any] = [await asyncpg.connect(elsewhere)]
        try:
            await taken[0].execute(drop, name)
            with pytest.raises(asyncpg.TooManyConnectionsError):
                while True:
                    taken.append(await asyncpg.connect(elsewhere))
            async with asyncio.timeout(5):
                answer = await ww.token(ww.admin)
            assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        finally:
            for each in taken:
                await each.close()
        assert (await ww.token(ww.admin)).status_code == 200


LOSE = """
CREATE SEQUENCE attempts;
CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF nextval('attempts') %% 3 <> 0 THEN RAISE EXCEPTION 'lost a race' USING ERRCODE = '%s'; END IF; RETURN NULL; END $$;
CREATE TRIGGER lose AFTER INSERT ON audit FOR EACH STATEMENT EXECUTE FUNCTION lose();
"""


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_lost_race_is_run_again(ww: Instance, postgres_dsn: str, code: str) -> None:
    """DBF-006: a deadlock that PostgreSQL resolved would be an error for the caller, or be recorded twice."""
    headers = await ww.bearer()
    await execute(postgres_dsn, LOSE % code)
    answer = await ww.token(ww.admin)
    assert answer.status_code == 200
    made = await ww.http.post(f"{ISSUER[:-10]}/api/v1/applications", json={"name": "once"}, headers=headers)
    assert made.status_code == 201
    tenant = await ww.services.view.tenant("default")
    assert tenant is not None
    recorded = b"".join([row.payload async for row in ww.services.upkeep.audit.rows(tenant.tenant.tenant_id)])
    assert recorded.count(token_id(answer.json()["access_token"]).encode()) == 1
    assert recorded.count(made.json()["client_id"].encode()) == 2  # created, and its secret


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """DBF-015: half a schema would stop every later start, with nobody knowing which half."""
    path = tmp_path / "watchword.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE anchor (in_the_way)")
    with pytest.raises(SQLAlchemyError, match="anchor"):
        migrate(f"sqlite:///{path}")
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    with sqlite3.connect(path) as database:
        assert database.execute(names).fetchall() == [("anchor",)]
        database.execute("DROP TABLE anchor")
    migrate(f"sqlite:///{path}")
    with sqlite3.connect(path) as database:
        assert ("audit",) in database.execute(names).fetchall()


async def test_a_backup_under_load(tmp_path: Path) -> None:
    """DBF-018: a restored backup would have lost revocations, or would not open."""
    async with instance(tmp_path) as ww:
        dead = (await ww.token(ww.admin)).json()["access_token"]
        assert (await ww.http.post(f"{ISSUER}/revoke", data={"token": dead}, auth=ww.admin)).status_code == 200

        def backup() -> None:
            with sqlite3.connect(tmp_path / "watchword.db") as source, sqlite3.connect(tmp_path / "copy.db") as copy:
                source.backup(copy)

        answers: list[Any] = await asyncio.gather(asyncio.to_thread(backup), *(ww.token(ww.admin) for _ in range(50)))
        assert {answer.status_code for answer in answers[1:]} == {200}
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT token_id FROM revoked").fetchall() == [(token_id(dead),)]
    copy.close()
    copied = ("--database", f"sqlite:///{tmp_path / 'copy.db'}")
    assert watchword(tmp_path, "audit", "verify", *copied).returncode == 1  # it is older than the epoch
    assert watchword(tmp_path, "audit", "accept-restore", *copied).returncode == 0
    done = watchword(tmp_path, "audit", "verify", *copied)
    assert done.returncode == 0, done.stderr


def workers() -> set[int]:
    """The processes that serve: children of `watchword serve`, which this process has started, also by another one."""
    return {pid for pid in descendants(os.getpid()) if b"spawn_main" in command_of(pid)}


async def lose_a_worker(load: Load) -> None:
    """Under load; afterwards there are two again."""
    clients = [asyncio.ensure_future(load.client()) for _ in range(4)]
    await load.until(50)
    before = workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    async with asyncio.timeout(20):
        while victim in workers() or len(workers()) < len(before):
            await asyncio.sleep(0.05)
    await load.until(50)
    load.stop = True
    await asyncio.gather(*clients)


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """CRS-012: out of memory once, and the server would run at half its strength until somebody notices."""
    with serving(tmp_path, "--workers", "2") as base:
        load = Load(base, credentials_in(tmp_path))
        asyncio.run(lose_a_worker(load))
    assert load.away == 0
    assert len(load.wrong) <= 4  # the connections that the dead worker held
    recorded = watchword(tmp_path, "audit", "export").stdout
    assert [token for token in load.tokens if token_id(token) not in recorded] == []
    assert watchword(tmp_path, "audit", "verify").returncode == 0
