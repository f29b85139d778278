"""`watchword export` and `watchword import instance`: the same behaviour elsewhere, or no change at all."""

from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.flows.cli.test_command_line import watchword
from tests.support.instance import ISSUER, Instance, behind_tls, credentials_of, instance
from tests.support.nodes import settings

from watchword.jose.sealing import create_master_key
from watchword.server.app import Application, import_instance
from watchword.server.composition.foundation import World
from watchword.server.registry.errors import Conflict
from watchword.server.service.upkeep.export_file import DamagedExport, ExportWriter
from watchword.server.storage import schema
from watchword.server.storage.transfer import MOVES, STAYS


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """What is exported."""
    folder = tmp_path / "old"
    folder.mkdir()
    async with instance(folder) as running:
        yield running


async def exported(ww: Instance) -> bytes:
    """The file."""
    file = io.BytesIO()
    assert await ww.services.upkeep.export(file) >= 7
    return file.getvalue()


def new_folder(tmp_path: Path) -> Path:
    """An empty instance's folder, with the old one's master key."""
    folder = tmp_path / "new"
    folder.mkdir()
    shutil.copy2(tmp_path / "old" / "watchword.key", folder / "watchword.key")
    return folder


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_the_copy_behaves_the_same(
    ww: Instance, tmp_path: Path, request: pytest.FixtureRequest, database: str
) -> None:
    """ADM-025: after a move, applications would be locked out, or revoked tokens would live again."""
    api = await ww.api("https://rs1.example/", "a:read", format="opaque")
    assert (await ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [ww.admin[0]]})).status_code == 200
    app, gone = await ww.application("stays", api, "a:read"), await ww.application("goes", api, "a:read")
    assert (await ww.call("DELETE", f"/applications/{gone['client_id']}")).status_code == 204
    alive, dead = [(await ww.token(credentials_of(app))).json()["access_token"] for _ in "ab"]
    await ww.http.post(f"{ISSUER}/revoke", data={"token": dead}, auth=credentials_of(app))
    jwks = (await ww.http.get(f"{ISSUER}/jwks")).json()
    file = await exported(ww)
    view = await ww.services.view.tenant("default")
    assert view is not None
    for needle in (app["client_secret"], ww.admin[1], app["client_id"]):
        assert needle.encode() not in file
    assert b"InstanceExported" in b"".join(
        [row.payload async for row in ww.services.upkeep.audit.rows(view.tenant.tenant_id)]
    )
    folder = new_folder(tmp_path)
    url = request.getfixturevalue("migrated_postgres_dsn") if database == "postgres" else f"sqlite:///{folder / 'w.db'}"
    world = World(clock=ww.clock, monotonic=ww.clock, random_bytes=os.urandom)
    assert await import_instance(settings(folder, url), io.BytesIO(file), world=world) > 10
    tls = {"tls_cert": ww.services.settings.tls_cert, "tls_key": ww.services.settings.tls_key}
    application = Application(settings(folder, url, **tls), world)
    async with application.running() as services, behind_tls(application) as http:
        copy = Instance(http, services, ww.clock, ww.admin)
        assert (await http.get(f"{ISSUER}/jwks")).json() == jwks
        assert (await copy.token(credentials_of(app))).status_code == 200
        assert (await copy.token(credentials_of(gone))).status_code == 401
        assert (await copy.introspect(ww.admin, alive))["active"] is True
        assert await copy.introspect(ww.admin, dead) == {"active": False}
        taken = {"name": "again", "client_id": gone["client_id"], "secret": "x" * 20}
        assert (await copy.call("POST", "/applications", taken)).status_code == 409
        events = [row.payload async for row in services.upkeep.audit.rows(view.tenant.tenant_id)]
        assert b"InstanceImported" in b"".join(events)
        assert (await services.upkeep.audit.verify(view.tenant.tenant_id)).breaks == []


def flipped(file: bytes, at: int) -> bytes:
    """One bit is wrong."""
    return file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :]


DAMAGE: dict[str, Any] = {
    "empty": lambda f: b"",
    "of another kind": lambda f: b"x" * 200,
    "cut in the middle": lambda f: f[: len(f) // 2],
    "the end is missing": lambda f: f[:-33],
    "one byte is missing": lambda f: f[:-1],
    "something behind it": lambda f: f + b"x",
    "a bit in the number": lambda f: flipped(f, 25),
    "a bit in the middle": lambda f: flipped(f, len(f) // 2),
    "a bit at the end": lambda f: flipped(f, len(f) - 1),
}


@pytest.mark.parametrize("how", DAMAGE, ids=lambda how: f"ADM-025 {how}")
async def test_a_damaged_file_changes_nothing(ww: Instance, tmp_path: Path, how: str) -> None:
    """Half an instance would be served as if it were the whole."""
    file = DAMAGE[how](await exported(ww))
    folder = new_folder(tmp_path)
    with pytest.raises(DamagedExport):
        await import_instance(settings(folder, f"sqlite:///{folder / 'w.db'}"), io.BytesIO(file))
    assert [path.name for path in folder.iterdir()] == ["watchword.key"]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b'{"schema": "0000", "exported_at": 1.0}'], id="ADM-025 another schema"),
        pytest.param([], id="ADM-025 no heading"),
        pytest.param([None, b"[]"], id="ADM-025 no record"),
        pytest.param([None, b'{"table": "meta", "records": []}'], id="ADM-025 a table that does not move"),
        pytest.param([None, b'{"table": "tenant", "records": [{"id": 1}]}'], id="ADM-025 a record with a hole"),
        pytest.param(
            [
                None,
                b'{"table":"revoked","records":[{"tenant_id":"t","token_id":"x","expires_at":1}]}',
                b'{"table":"revoked","records":[{"tenant_id":"t","token_id":"x","expires_at":1}]}',
            ],
            id="ADM-025 a record twice",
        ),
    ],
)
async def test_a_wrong_content_is_rolled_back(ww: Instance, tmp_path: Path, pieces: list[bytes | None]) -> None:
    """What came before the wrong record would stay in the database."""
    from watchword.server.storage.migrate import newest_revision

    file = io.BytesIO()
    writer = ExportWriter(file, ww.services.master, b"i" * 16)
    for piece in pieces:
        heading = b'{"schema": "%s", "exported_at": 1.0}' % newest_revision().encode()
        writer.write(heading if piece is None else piece)
    writer.close()
    folder = new_folder(tmp_path)
    file.seek(0)
    with pytest.raises(DamagedExport):
        await import_instance(settings(folder, f"sqlite:///{folder / 'w.db'}"), file)
    if (folder / "w.db").exists():
        import sqlite3

        with sqlite3.connect(folder / "w.db") as database:
            for table in MOVES:
                assert database.execute(f"SELECT count(*) FROM {table.name}").fetchone() == (0,)


async def test_only_an_empty_instance_is_filled(ww: Instance) -> None:
    """ADM-025: an import into a living instance would mix two instances' tenants."""
    file = await exported(ww)
    async with ww.services.storage.engine.connect() as connection:
        before = await connection.scalar(sa.select(sa.func.count()).select_from(schema.application))
    with pytest.raises(Conflict, match="empty"):
        await import_instance(ww.services.settings, io.BytesIO(file))
    async with ww.services.storage.engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(schema.application)) == before


async def test_another_master_key_opens_nothing(ww: Instance, tmp_path: Path) -> None:
    """ADM-025: whoever finds the file would have the instance."""
    folder = tmp_path / "new"
    create_master_key(folder / "watchword.key")
    with pytest.raises(DamagedExport, match="master key"):
        await import_instance(settings(folder, f"sqlite:///{folder / 'w.db'}"), io.BytesIO(await exported(ww)))
    assert not (folder / "w.db").exists()


def test_every_table_moves_or_stays() -> None:
    """A table that somebody adds would be forgotten by the export, and missed after the move."""
    assert {*MOVES, *STAYS} == set(schema.metadata.tables.values())


def test_the_command(tmp_path: Path) -> None:
    """ADM-025: an operator would have the verb in the documentation only."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    assert watchword(old, "init").returncode == 0
    file = tmp_path / "instance.wwx"
    done = watchword(old, "export", str(file))
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert watchword(old, "export", str(file)).returncode == 1
    without_key = watchword(new, "import", "instance", str(file))
    assert (without_key.returncode, "master key" in without_key.stderr) == (1, True)
    shutil.copy2(old / "watchword.key", new / "watchword.key")
    done = watchword(new, "import", "instance", str(file))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    again = watchword(new, "import", "instance", str(file))
    assert (again.returncode, "empty" in again.stderr) == (1, True)
    assert watchword(new, "audit", "verify").returncode == 0
    pruned = watchword(new, "audit", "prune", "--before", "2020-01-31")
    assert (pruned.returncode, "0 rows" in pruned.stderr) == (0, True)
    assert watchword(new, "audit", "prune", "--before", "yesterday").returncode == 2
    assert watchword(new, "audit", "prune", "--before", "2999-01-01").returncode == 1
