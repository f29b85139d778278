"""Attackers who can write to the database, without the master key: whatever they do to the audit log shows."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tests.support.nodes import Node, nodes, settings
from tests.support.served import watchword

from watchword.server.app import Application, initialise
from watchword.server.audit.chain import GENESIS, Row, row_hash, row_mac
from watchword.server.audit.checkpoints import place_of
from watchword.server.audit.events import ApplicationCreated, RestoreAccepted
from watchword.server.audit.verification import Verified
from watchword.server.composition.foundation import World
from watchword.server.composition.services import open_services
from watchword.server.service.upkeep.accept_restore import accept_restore
from watchword.server.storage import schema
from watchword.server.storage.open import StartRefused

T, C = schema.audit, schema.audit_checkpoint


async def write(node: Node, count: int = 3) -> str:
    """Rows of the node's own, signed; the chain's name."""
    for number in range(count):
        event = ApplicationCreated(at=node.clock(), client_id=f"app {number}", name="x")
        assert await node.services.commits.submit(node.tenant.tenant_id, "nobody", event, None, 1_000_000) is True
    return next(name for name in node.services.commits.heads()).partition("/")[2]


async def alter(node: Node, *statements: sa.Executable) -> None:
    """What the attacker writes."""
    async with node.engine.begin() as connection:
        for statement in statements:
            await connection.execute(statement)


@asynccontextmanager
async def restarted(folder: Path, url: str, clock: Any) -> AsyncIterator[Node]:
    """Another process on the same host: it knows what the database and the files say, and nothing else."""
    services = await open_services(settings(folder, url), World(clock=clock, monotonic=clock))
    try:
        found = await services.view.tenant("default")
        assert found is not None
        yield Node(services, found.tenant, clock)
    finally:
        await services.storage.close()


async def verified(folder: Path, url: str, node: Node, expected: str = "") -> Verified:
    """What `watchword audit verify` finds in a process of its own."""
    async with restarted(folder, url, node.clock) as fresh:
        return await fresh.services.upkeep.audit.verify(node.tenant.tenant_id, place_of(expected) if expected else None)


def forged(node: Node, chain: str, seq: int, previous: str, mac: bytes | None) -> Row:
    """A row with a hash as it should be: that needs no key."""
    payload = msgspec.json.encode([ApplicationCreated(at=node.clock(), client_id="never was", name="invented")])
    digest = row_hash(previous, node.tenant.tenant_id, chain, seq, node.clock(), payload)
    return Row(node.tenant.tenant_id, chain, seq, node.clock(), 1, payload, digest, mac and row_mac(mac, digest))


def insert(row: Row) -> sa.Executable:
    return sa.insert(T).values(**msgspec.structs.asdict(row))


async def heads_of(node: Node, chain: str) -> Row:
    """The newest row of a chain."""
    return [row async for row in node.services.upkeep.audit.rows(node.tenant.tenant_id) if row.chain == chain][-1]


async def attack(node: Node, chain: str, how: str) -> None:
    """What is done to a log whose newest rows are `chain`, with the newest checkpoint."""
    of_chain = (T.c.tenant_id == node.tenant.tenant_id, T.c.chain == chain)
    newest = sa.select(sa.func.max(C.c.number)).scalar_subquery()
    if how == "a chain and the checkpoint that names it":
        await alter(node, sa.delete(T).where(*of_chain), sa.delete(C).where(C.c.number == newest))
    elif how == "every table of the audit log":
        await alter(node, *(sa.delete(t) for t in (T, C, schema.checkpoint, schema.anchor)))
    elif how == "every table, and the signing key":
        await alter(node, *(sa.delete(t) for t in (T, C, schema.checkpoint, schema.anchor)))
        await alter(node, sa.delete(schema.meta).where(schema.meta.c.key == "audit_key"))
    elif how == "the checkpoints alone":
        await alter(node, sa.delete(C))
    elif how == "the first checkpoint":
        await alter(node, sa.delete(C).where(C.c.number == 1))
    elif how == "a checkpoint is changed":
        await alter(node, sa.update(C).where(C.c.number == newest).values(statement=b'{"number":2}'))
    elif how == "a checkpoint comes twice":
        again = sa.select(newest + 1, C.c.statement, C.c.mac).where(C.c.number == newest)
        await alter(node, sa.insert(C).from_select(["number", "statement", "mac"], again))
    elif how == "an event in a chain of its own":
        await alter(node, insert(forged(node, "f" * 16, 1, GENESIS, None)))
    elif how == "an event with a MAC":
        await alter(node, insert(forged(node, "f" * 16, 1, GENESIS, b"a key of his own")))
    else:
        last = await heads_of(node, chain)
        await alter(node, insert(forged(node, chain, last.seq + 1, last.hash, None)))


ATTACKS = (
    "a chain and the checkpoint that names it", "every table of the audit log", "every table, and the signing key",
    "the checkpoints alone", "the first checkpoint", "a checkpoint is changed", "a checkpoint comes twice",
    "an event in a chain of its own", "an event with a MAC", "an event after the last of a chain",
)  # fmt: skip


@pytest.mark.parametrize("how", ATTACKS)
async def test_every_attack_shows(how: str, url: str, tmp_path: Path) -> None:
    """Attackers could remove what they did, or blame somebody else; the next start must not sign it either."""
    async with nodes(tmp_path, url, 1) as (node,):
        await node.services.upkeep.housekeeping.finish()
        chain = await write(node)
        await node.services.upkeep.housekeeping.finish()
        assert (await verified(tmp_path, url, node)).breaks == []
        await attack(node, chain, how)
        assert (await verified(tmp_path, url, node)).breaks, how
        async with restarted(tmp_path, url, node.clock) as fresh:
            await write(fresh)
            await fresh.services.upkeep.housekeeping.finish()
        assert (await verified(tmp_path, url, node)).breaks, f"{how}, and a start after it"


def restore(folder: Path, copy: Path) -> None:
    """An old copy of the database in place of the one that was there."""
    for name in ("watchword.db", "watchword.db-wal", "watchword.db-shm"):
        (folder / name).unlink(missing_ok=True)
    shutil.copy(copy, folder / "watchword.db")


@asynccontextmanager
async def old_copy(folder: Path) -> AsyncIterator[tuple[str, Node, str]]:
    """A database that was replaced by an old copy of it: its URL, a node, and the newest checkpoint before that."""
    url = f"sqlite:///{folder / 'watchword.db'}"
    async with nodes(folder, url, 1) as (node,):
        await write(node, 1)  # not signed yet
        with sqlite3.connect(folder / "watchword.db") as there, sqlite3.connect(folder / "copy.db") as copy:
            there.backup(copy)
        node.clock.now += 86_400
        await write(node)
        await node.services.upkeep.housekeeping.finish()
        newest = (await node.services.upkeep.audit.verify(node.tenant.tenant_id)).newest
    restore(folder, folder / "copy.db")
    yield url, node, newest


async def test_an_old_copy_shows_and_is_not_served(tmp_path: Path) -> None:
    """A restored backup would sign with withdrawn keys and accept revoked secrets, and nobody would know."""
    async with old_copy(tmp_path) as (url, node, newest):
        assert [found.chain for found in (await verified(tmp_path, url, node)).breaks] == ["checkpoints"]
        with pytest.raises(StartRefused, match="accept-restore"):
            async with Application(settings(tmp_path, url), World(clock=node.clock)).running():
                pass
        with pytest.raises(StartRefused, match="old copy"):
            await initialise(settings(tmp_path, url))
        async with restarted(tmp_path, url, node.clock) as fresh:
            upkeep = fresh.services.upkeep
            await upkeep.housekeeping.finish()
            assert (await upkeep.audit.verify(node.tenant.tenant_id)).breaks, "signed on an old copy"
            lost = await accept_restore(upkeep.checkpoints, fresh.store, node.clock, "tester")
            assert lost is not None
            assert lost.first <= lost.last == place_of(newest)[0]
            await upkeep.housekeeping.finish()
        after = await verified(tmp_path, url, node)
        assert after.breaks == []
        assert [restore[1:] for restore in after.restores] == [(lost.first, lost.last)]
        assert (await verified(tmp_path, url, node, newest)).breaks, "the witness must not be told that all is well"
        async with Application(settings(tmp_path, url), World(clock=node.clock)).running() as running:
            recorded = [row async for row in running.upkeep.audit.rows(node.tenant.tenant_id)]
            assert any(RestoreAccepted.__name__.encode() in row.payload for row in recorded)


async def test_a_witness_sees_an_old_copy_without_an_epoch(tmp_path: Path) -> None:
    """With the key mounted read-only no epoch is kept: somebody outside has to be able to tell."""
    async with old_copy(tmp_path) as (url, node, newest):
        (tmp_path / "watchword.key.epoch").unlink()
        assert (await verified(tmp_path, url, node)).breaks == []
        assert (await verified(tmp_path, url, node)).epoch == ""
        assert [found.chain for found in (await verified(tmp_path, url, node, newest)).breaks] == ["checkpoints"]


async def test_the_epoch_is_kept_as_the_key_is(tmp_path: Path) -> None:
    """Others could read or replace it, or a crash leave half of it."""
    url = f"sqlite:///{tmp_path / 'watchword.db'}"
    async with nodes(tmp_path, url, 1) as (node,):
        await write(node)
        await node.services.upkeep.housekeeping.finish()
        file = tmp_path / "watchword.key.epoch"
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text().strip() == (await node.services.upkeep.audit.verify(node.tenant.tenant_id)).newest
        file.write_text("99")
        with pytest.raises(StartRefused, match="epoch"):
            await initialise(settings(tmp_path, url))


async def test_the_next_start_signs_what_a_crash_left(url: str, tmp_path: Path) -> None:
    """Rows of a killed process could be cut off for ever, or rows that somebody added be signed with them."""
    async with nodes(tmp_path, url, 1) as (node,):
        chain = await write(node)
        found = await verified(tmp_path, url, node)
        assert (found.breaks, found.unsigned) == ([], 3)
        assert found.unsigned_since == node.clock()
        node.clock.now += 3_600
        async with restarted(tmp_path, url, node.clock) as fresh:
            await fresh.services.upkeep.housekeeping.finish()
        assert (await verified(tmp_path, url, node)).unsigned == 0
        await alter(node, sa.delete(T).where(T.c.chain == chain, T.c.seq == 3))
        assert [(each.chain, each.seq) for each in (await verified(tmp_path, url, node)).breaks] == [(chain, 3)]


async def test_a_running_server_signs_nothing_on_a_database_that_was_cut(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gap would be hidden behind the next checkpoint, ten seconds later, and by the epoch that follows it."""
    async with nodes(tmp_path, url, 1) as (node,):
        await write(node)
        await node.services.upkeep.housekeeping.finish()
        before = (tmp_path / "watchword.key.epoch").read_text()
        await alter(node, sa.delete(T), sa.delete(C))
        await write(node, 1)
        await node.services.upkeep.housekeeping.finish()
        assert (tmp_path / "watchword.key.epoch").read_text() == before
        assert "the audit log is not signed" in capsys.readouterr().out
        assert (await verified(tmp_path, url, node)).breaks


async def test_a_log_of_an_older_version_still_verifies(url: str, tmp_path: Path) -> None:
    """After an upgrade every old log would look forged, or what is not proven would look proven."""
    async with nodes(tmp_path, url, 1) as (node,):
        chain = await write(node)
        (tmp_path / "watchword.key.epoch").unlink()
        await alter(node, sa.update(T).values(mac=None), sa.delete(C))
        async with restarted(tmp_path, url, node.clock) as fresh:
            await fresh.services.upkeep.housekeeping.finish()
        found = await verified(tmp_path, url, node)
        assert found.breaks == []
        assert found.without_mac == found.rows
        await alter(node, sa.delete(T).where(T.c.chain == chain))
        assert [(each.chain, each.seq) for each in (await verified(tmp_path, url, node)).breaks] == [(chain, 3)]


def test_the_commands(tmp_path: Path) -> None:
    """An operator would not learn that the database is an old copy, or not what to do about it."""
    assert watchword(tmp_path, "init").returncode == 0
    shutil.copy(tmp_path / "watchword.db", tmp_path / "copy.db")
    assert watchword(tmp_path, "admin", "recover", "--secret-file", "another").returncode == 0
    told = watchword(tmp_path, "audit", "verify")
    assert told.returncode == 0, told.stderr
    newest = told.stdout.strip().removeprefix("checkpoint ")
    assert newest == (tmp_path / "watchword.key.epoch").read_text().strip()
    assert watchword(tmp_path, "audit", "verify", "--expect", newest).returncode == 0
    assert watchword(tmp_path, "audit", "verify", "--expect", f"1:{'0' * 64}").returncode == 1
    recovered = watchword(tmp_path, "audit", "tail", "--event", "AdministratorRecovered")
    assert recovered.stdout.count("\n") == 1
    unwritable = watchword(tmp_path, "doctor", WATCHWORD_AUDIT_EPOCH_FILE=str(tmp_path / "none" / "epoch"))
    assert (unwritable.returncode, "--expect" in unwritable.stderr) == (0, True)
    restore(tmp_path, tmp_path / "copy.db")
    for verb in (("serve", "--port", "0"), ("doctor",)):
        refused = watchword(tmp_path, *verb)
        assert (refused.returncode, "audit accept-restore" in refused.stderr) == (1, True), refused.stderr
    assert watchword(tmp_path, "audit", "accept-restore").returncode == 0
    after = watchword(tmp_path, "audit", "verify")
    assert (after.returncode, "are lost" in after.stderr) == (0, True)
