"""A throwaway PostgreSQL cluster for tests, and a fresh database for each test that asks."""

import asyncio
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest


def _binaries() -> Path | None:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda p: int(p.split("/")[4]))
    return Path(found[-1]).parent if found else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _apart(work: Callable[[], None]) -> None:
    """In a thread of its own: the caller may already be inside a running loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def _name(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


class Postgres:
    """One server; either ours to stop, or one that WATCHWORD_TEST_POSTGRES names."""

    _open: ClassVar[list["Postgres"]] = []

    def __init__(self, dsn: str, directory: Path | None = None, binaries: Path | None = None) -> None:
        self.dsn, self._directory, self._binaries = dsn, directory, binaries
        self._made: list[str] = []
        self._promised: set[str] = set()
        self._migrated = ""
        self._open.append(self)

    @classmethod
    def of(cls, url: str) -> "Postgres | None":
        """The server that made this database."""
        return next((server for server in cls._open if _name(url) in server._made), None)

    @classmethod
    def start(cls, *, own: bool = False) -> "Postgres":
        """`own`: a cluster that the test may break, also when WATCHWORD_TEST_POSTGRES names one."""
        if not own and (given := os.environ.get("WATCHWORD_TEST_POSTGRES")):
            return cls(given)
        binaries = _binaries()
        if binaries is None:
            say = "no PostgreSQL: install the package postgresql, or set WATCHWORD_TEST_POSTGRES to a DSN"
            if os.environ.get("CI"):
                pytest.fail(say)
            pytest.skip(say)
        directory = Path(tempfile.mkdtemp(prefix="wwpg"))
        if os.geteuid() == 0:
            os.chown(directory, pwd.getpwnam("postgres").pw_uid, -1)
        port = _free_port()
        server = cls(f"postgresql://postgres@127.0.0.1:{port}/postgres", directory, binaries)
        try:
            server._run("initdb", "--no-sync", "-D", f"{directory}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8")
            # Hundreds of databases, each for a second: their vacuum and their checkpoints are not worth a processor.
            quiet = "-c autovacuum=off -c checkpoint_timeout=1h -c max_wal_size=4GB"
            options = f"-p {port} -h 127.0.0.1 -k {directory} -c fsync=on {quiet}"
            server._run("pg_ctl", "-D", f"{directory}/data", "-w", "-l", f"{directory}/log", "-o", options, "start")
        except BaseException:
            server.stop()
            raise
        return server

    def restart(self) -> None:
        """As an operator does it."""
        self._run(
            "pg_ctl", "-D", f"{self._directory}/data", "-w", "-l", f"{self._directory}/log", "-m", "fast", "restart"
        )

    def pids(self) -> list[int]:
        """The postmaster first, then every process that it started."""
        head = int(Path(f"{self._directory}/data/postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{head}/task/{head}/children").read_text().split()
        return [head, *map(int, children)]

    def backends(self) -> list[int]:
        """The processes that serve Watchword's connections."""
        return [pid for pid in self.pids()[1:] if b"127.0.0.1" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        assert self._binaries is not None
        drop = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*drop, str(self._binaries / program), *arguments]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/", check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")

    def _admin(self, *statements: str) -> None:
        async def go() -> None:
            connection = await asyncpg.connect(self.dsn)
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        _apart(lambda: asyncio.run(go()))

    def migrated_database(self) -> str:
        """One with today's tables, and nothing in them: copied, because the migrations take most of a test's time."""
        url = self.promised_database()
        self.create(url)
        return url

    def fresh_database(self) -> str:
        """An empty one."""
        url = self.promised_database()
        self.fill(url, "template1")
        return url

    def promised_database(self) -> str:
        """The URL of one that is not there until `fill` or `create`: to create one and replace it costs twice."""
        name = f"ww_{uuid.uuid4().hex}"
        self._made.append(name)
        self._promised.add(name)
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{name}"))

    def create(self, url: str) -> None:
        """With today's tables, and nothing in them, if it was only promised."""
        from watchword.server.storage.migrate import migrate  # a second of imports, for tests without a database, too

        if _name(url) not in self._promised:
            return
        if not self._migrated:
            first = self.fresh_database()
            _apart(lambda: migrate(first))
            self._migrated = _name(first)
        self.fill(url, self._migrated)

    def fill(self, url: str, template: str) -> None:
        """Make the database at `url` a copy of the one with that name; nobody is connected to either."""
        name = _name(url)
        if name in self._promised:
            self._promised.remove(name)
        else:
            self._admin(f"DROP DATABASE {name}")
        self._admin(f"CREATE DATABASE {name} TEMPLATE {template}")

    def stop(self) -> None:
        self._open.remove(self)
        if self._directory is None:
            for name in self._made:
                self._admin(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            return
        self._run("pg_ctl", "-D", f"{self._directory}/data", "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(self._directory, ignore_errors=True)
