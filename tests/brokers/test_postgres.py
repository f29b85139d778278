"""PostgreSQL 18 takes our tokens as libpq sends them for us, set up by `broker-config postgresql`.

PostgreSQL brings no validator. The one here is a few lines of C that ask this process, where `watchword.resource`
judges each token and asks the issuer whether it was revoked. A login is judged once: a connection outlives its token.
"""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from examples.brokers.processes import listening
from tests.brokers.address import not_loopback
from tests.brokers.conftest import short_folder
from tests.brokers.issuer import LIFETIME, Issuer, Registered
from tests.brokers.libpq18 import INSTALLED, psycopg, use_tokens
from tests.support.served import free_ports

from watchword.client import AccessToken
from watchword.resource import AccessRefused, Fetch, Introspection, Verifier
from watchword.resource import Issuer as TokenIssuer

pytestmark = pytest.mark.xdist_group("postgres18")  # one worker starts it
MODULE = Path(__file__).parent / "postgres" / "watchword_test.c"
API, SCOPE = "urn:postgres", "db:login"
USER = "nobody"
"""PostgreSQL does not run as root."""


class Judge(socketserver.ThreadingUnixStreamServer):
    """Whom the validator asks: one line with a token, one line with the verdict."""

    daemon_threads = True

    def __init__(self, path: Path, verifier: Verifier) -> None:
        super().__init__(str(path), _Asked)
        self.verifier = verifier
        self.said: list[str] = []

    def verdict(self, token: str) -> str:
        """``yes CLIENT_ID`` or ``no REASON``."""
        try:
            found = f"yes {self.verifier.verify(token, SCOPE).client_id}"
        except AccessRefused as refused:
            found = f"no {refused.error}: {refused}"
        self.said.append(found)
        return found


class _Asked(socketserver.StreamRequestHandler):
    server: Judge

    def handle(self) -> None:
        self.wfile.write(f"{self.server.verdict(self.rfile.readline(65_536).decode().strip())[:200]}\n".encode())


@dataclass
class Postgres:
    """A running one: who asks for what is said in its configuration, which the command printed."""

    issuer: Issuer
    judge: Judge
    folder: Path
    port: int
    app: Registered
    second: Registered
    stranger: Registered
    elsewhere: str
    """The server's address that is not loopback."""

    def connect(self, app: Registered, token: str | Callable[[], str], role: str = "app", **options: Any) -> Any:
        """One login, with this token or with what the source then says."""
        source = token if callable(token) else lambda: token
        use_tokens(lambda: AccessToken(source(), 0), issuer=self.issuer.url, client_id=app.client_id)
        return psycopg.connect(**self.options(app, role) | options)

    def options(self, app: Registered, role: str = "app") -> dict[str, Any]:
        """libpq's own."""
        return {
            "host": "127.0.0.1", "port": self.port, "dbname": "postgres", "user": role, "connect_timeout": 20,
            "oauth_issuer": self.issuer.url, "oauth_client_id": app.client_id,
        }  # fmt: skip

    def refused(self, app: Registered, token: str, role: str = "app") -> str:
        """What the judge said of a login that PostgreSQL refused."""
        with pytest.raises(psycopg.OperationalError, match="OAuth bearer authentication failed"):
            self.connect(app, token, role)
        return self.judge.said[-1]


@pytest.fixture(scope="module")
def postgres(issuer: Issuer) -> Iterator[Postgres]:
    issuer.api(API, SCOPE, "unrelated")
    judging = issuer.application(API, SCOPE)
    issuer.may_introspect(API, judging.client_id)
    issuer.api("urn:another-database", SCOPE)
    app, second = issuer.application(API, SCOPE, "unrelated"), issuer.application(API, SCOPE)
    stranger = issuer.application("urn:another-database", SCOPE)
    for folder in short_folder("pg"):
        _configure(folder, issuer, [app, second, stranger])
        with _judge(folder, issuer, judging) as judge, not_loopback() as elsewhere, _server(folder, elsewhere) as port:
            made = Postgres(issuer, judge, folder, port, app, second, stranger, elsewhere)
            with psycopg.connect(host=str(folder), port=port, user="postgres", autocommit=True) as root:
                root.execute("create role app login")
                root.execute("create role other login")
            yield made


def _configure(folder: Path, issuer: Issuer, apps: list[Registered]) -> None:
    gcc = shutil.which("gcc")
    assert gcc is not None, "gcc is missing: run .ci/prepare brokers"
    built = [
        gcc,
        "-fPIC",
        "-shared",
        "-I",
        f"{INSTALLED}/include/postgresql/server",
        "-o",
        f"{folder}/{MODULE.stem}.so",
    ]
    _run([*built, str(MODULE)])
    data = folder / "data"
    data.mkdir()
    if os.getuid() == 0:
        shutil.chown(data, USER)
        shutil.chown(folder, USER)
    _run([f"{INSTALLED}/bin/initdb", "-D", str(data), "-U", "postgres", "-A", "reject", "--no-sync"], user=True)
    roles = [word for app in apps for word in ("--role", f"{app.client_id}=app")]
    issuer.watchword(
        "broker-config", "postgresql", "--validator", MODULE.stem, "--scope", SCOPE, *roles,
        "--listener", "host", "--out", str(data),
    )  # fmt: skip
    (data / "pg_hba.conf").write_text("local all postgres trust\ninclude watchword_hba.conf\n")
    (data / "pg_ident.conf").write_text("include watchword_ident.conf\n")
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(
            f"include 'watchword.conf'\ndynamic_library_path = '{folder}'\nwatchword_test.socket = '{folder}/judge'\n"
            f"unix_socket_directories = '{folder}'\nfsync = off\n"
        )


def _run(command: list[str], *, user: bool = False) -> None:
    other: dict[str, Any] = {"user": USER, "group": "nogroup", "extra_groups": []} if user and os.getuid() == 0 else {}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **other)
    assert done.returncode == 0, done.stderr


@contextmanager
def _judge(folder: Path, issuer: Issuer, asks: Registered) -> Iterator[Judge]:
    verifier = Verifier(
        TokenIssuer(issuer.url, introspection=Introspection(asks.client_id, asks.secret, every_token=True, remember=0)),
        audience=API,
        now=issuer.clock,
        fetch=Fetch(transport=httpx.HTTPTransport(verify=issuer.trust)),
    )
    with Judge(folder / "judge", verifier) as judge:
        (folder / "judge").chmod(0o777)
        thread = threading.Thread(target=judge.serve_forever)
        thread.start()
        yield judge
        judge.shutdown()
        thread.join(20)


@contextmanager
def _server(folder: Path, elsewhere: str) -> Iterator[int]:
    [port] = free_ports(1)
    where = f"127.0.0.1,{elsewhere}"
    command = [f"{INSTALLED}/bin/postgres", "-D", f"{folder}/data", "-p", str(port), "-h", where]
    with listening(command, port, folder, {"LC_ALL": "C"}, user=USER):
        yield port


def who(connection: Any) -> tuple[str, str]:
    """Whom the server takes us for: by the token, and the role."""
    name, role = connection.execute("select system_user, current_user").fetchone()
    return name, role


def held(lengths: Iterable[int]) -> list[int]:
    """Which C strings of these lengths are still alive: libpq never says so where it does not give one back."""
    wanted = {length + 1 for length in lengths}
    return [len(one) for one in gc.get_objects() if isinstance(one, ctypes.Array) and len(one) in wanted]


@contextmanager
def later(issuer: Issuer, seconds: float) -> Iterator[None]:
    """The issuer's clock and the judge's; both are one."""
    issuer.offset = seconds
    try:
        yield
    finally:
        issuer.offset = 0.0


def test_allowed(postgres: Postgres, issuer: Issuer) -> None:
    """An application could not log in with what our client library holds, or log in as somebody else."""
    auth = issuer.credentials(postgres.app)
    use_tokens(auth.token, issuer=issuer.url, client_id=postgres.app.client_id)
    with psycopg.connect(**postgres.options(postgres.app)) as connection:
        assert who(connection) == (f"oauth:{postgres.app.client_id}", "app")


@pytest.mark.parametrize(
    "address",
    [
        "{base}{path}/.well-known/openid-configuration",
        "{base}{path}/.well-known/oauth-authorization-server",
        "{base}/.well-known/oauth-authorization-server{path}",
    ],
)
def test_the_address_of_the_metadata_as_issuer(address: str, postgres: Postgres, issuer: Issuer) -> None:
    """libpq sends the token at once if it is told where the metadata is; such a login would find no source."""
    before = len(postgres.judge.said)
    base, at, path = issuer.url.partition("/t/")
    told = address.format(base=base, path=at + path)
    with postgres.connect(postgres.app, issuer.token(postgres.app), oauth_issuer=told) as connection:
        assert who(connection)[1] == "app"
    assert len(postgres.judge.said) == before + 1


def test_wrong_scope(postgres: Postgres, issuer: Issuer) -> None:
    """Any token for this API would open the database."""
    said = postgres.refused(postgres.app, issuer.token(postgres.app, "unrelated"))
    assert said.startswith("no insufficient_scope")


def test_another_api(postgres: Postgres, issuer: Issuer) -> None:
    """Whoever gets a token for any API could log in."""
    said = postgres.refused(postgres.stranger, issuer.token(postgres.stranger))
    assert said.startswith("no invalid_token")
    assert "aud" in said


def test_another_role(postgres: Postgres, issuer: Issuer) -> None:
    """A good token would be every role of the database."""
    assert postgres.refused(postgres.app, issuer.token(postgres.app), "other").startswith("yes")


def test_expired(postgres: Postgres, issuer: Issuer) -> None:
    """A token that leaked long ago would still log in."""
    said = postgres.refused(postgres.app, issuer.token(postgres.app, lives=-1))
    assert said.startswith("no invalid_token")
    assert "exp" in said


def test_revoked(postgres: Postgres, issuer: Issuer) -> None:
    """A token that its owner took back would log in until it expires."""
    token = issuer.token(postgres.app)
    with postgres.connect(postgres.app, token) as connection:
        assert who(connection)[1] == "app"
    issuer.revoke(postgres.app, token)
    assert postgres.refused(postgres.app, token).startswith("no invalid_token")


def test_a_live_connection_goes_on_and_the_next_one_renews(postgres: Postgres, issuer: Issuer) -> None:
    """A pool would fall with the first token, or go on to log in with it after it expired."""
    token = issuer.token(postgres.app)
    newer = issuer.token(postgres.app, lives=LIFETIME * 3)
    tokens = [token]
    with postgres.connect(postgres.app, lambda: tokens[-1]) as connection, later(issuer, LIFETIME * 2):
        assert connection.execute("select 1").fetchone() == (1,)
        assert postgres.refused(postgres.app, token).startswith("no invalid_token")
        assert connection.execute("select 2").fetchone() == (2,)
        tokens.append(newer)
        with postgres.connect(postgres.app, lambda: tokens[-1]) as next_one:
            assert who(next_one)[1] == "app"


def test_many_threads(postgres: Postgres, issuer: Issuer) -> None:
    """One hook serves a whole process: a connection would log in with another's token, or with freed memory."""
    apps = [postgres.app, postgres.second]
    tokens = [issuer.token(app) for app in apps]
    for app, token in zip(apps, tokens, strict=True):
        use_tokens(partial(AccessToken, token, 0), issuer=issuer.url, client_id=app.client_id)

    def login(app: Registered) -> bool:
        with psycopg.connect(**postgres.options(app)) as connection:
            return who(connection)[0] == f"oauth:{app.client_id}"

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(login, apps * 12))
    assert not held(len(token) for token in tokens)


async def test_in_an_event_loop(postgres: Postgres, issuer: Issuer) -> None:
    """psycopg's asynchronous connection takes another way through libpq, and would stay without a token."""
    token = issuer.token(postgres.app)
    use_tokens(partial(AccessToken, token, 0), issuer=issuer.url, client_id=postgres.app.client_id)
    connection = await psycopg.AsyncConnection.connect(**postgres.options(postgres.app))
    async with connection:
        assert await (await connection.execute("select current_user")).fetchone() == ("app",)


def test_no_token_without_tls(postgres: Postgres, issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """libpq sends a token in clear to any server that asks for one, and the network has it."""
    before = len(postgres.judge.said)
    with pytest.raises(psycopg.OperationalError):
        postgres.connect(postgres.app, issuer.token(postgres.app), host=postgres.elsewhere)
    assert len(postgres.judge.said) == before
    assert "it would travel in clear: connect with sslmode=verify-full" in caplog.text


@pytest.mark.parametrize("wrong", ["issuer", "client_id"])
def test_a_stranger_gets_nothing(wrong: str, postgres: Postgres, issuer: Issuer) -> None:
    """A connection to another issuer's or another application's database would carry off this one's token."""
    asked: list[str] = []

    def source() -> AccessToken:
        asked.append("asked")
        return AccessToken(issuer.token(postgres.app), 0)

    use_tokens(source, issuer=issuer.url, client_id=postgres.app.client_id)
    known = {"oauth_issuer": "https://id.example/t/acme/.well-known/openid-configuration"}
    other = {"issuer": known, "client_id": {"oauth_client_id": "unknown"}}
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**postgres.options(postgres.app) | other[wrong])
    assert not asked


@pytest.mark.parametrize("value", ["", "a token", "a\x01auth=Bearer b", "tök"])
def test_what_is_no_token_is_not_sent(value: str, postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    """What is not a token would be written into the login's message, and might be read as another one."""
    before = len(postgres.judge.said)
    with pytest.raises(psycopg.OperationalError):
        postgres.connect(postgres.app, value)
    assert len(postgres.judge.said) == before
    assert "PostgreSQL gets no token" in caplog.text


def test_a_source_that_fails(postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    """libpq says nothing of the reason: without the log nobody would know what to repair; the process must live on."""

    def source() -> str:
        raise OSError("the issuer does not answer")

    with pytest.raises(psycopg.OperationalError):
        postgres.connect(postgres.app, source)
    assert "the issuer does not answer" in caplog.text


def test_an_older_libpq(tmp_path: Path) -> None:
    """With a libpq of its own, or an old one, psycopg would fail with words of the server that name no remedy."""
    program = "from watchword.sasl.libpq import use_tokens\nuse_tokens(print, issuer='https://a', client_id='b')"
    old = {
        "PSYCOPG_IMPL": "python",
        "LD_LIBRARY_PATH": str(INSTALLED.parent / "pginstall" / "lib"),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run([sys.executable, "-c", program], env=old, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "libpq of version 16, and only 18 and later take tokens: install PostgreSQL 18" in done.stderr
