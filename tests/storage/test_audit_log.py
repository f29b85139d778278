"""The audit log: whatever is done to it from outside shows, and it can be pruned without looking damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tests.support.nodes import Node, at_once, nodes

from watchword.jose import Algorithm, PrivateKey
from watchword.server.audit.chain import events_of
from watchword.server.audit.events import ApplicationCreated, AuditPruned
from watchword.server.registry.errors import Invalid
from watchword.server.service.upkeep.prune_audit import PruneAudit
from watchword.server.storage import schema
from watchword.server.storage.audit_log.pruning import AuditPruning
from watchword.server.storage.audit_log.statements import audit_key

Pair = tuple[Node, Node]
DAY = 86_400
T = schema.audit


async def write(node: Node, count: int = 5) -> str:
    """Rows of their own; the chain's name."""
    for number in range(count):
        event = ApplicationCreated(at=node.clock(), client_id=f"app {number}", name="x")
        assert await node.services.commits.submit(node.tenant.tenant_id, "nobody", event, None, 1_000_000) is True
    return next(name for name in node.services.commits.heads()).partition("/")[2]


async def alter(node: Node, *statements: sa.Executable) -> None:
    """Change the database behind Watchword's back."""
    async with node.engine.begin() as connection:
        for statement in statements:
            await connection.execute(statement)


async def breaks(node: Node) -> list[tuple[str, int]]:
    """Where the history does not hold."""
    return [(each.chain, each.seq) for each in (await node.services.upkeep.audit.verify(node.tenant.tenant_id)).breaks]


async def seqs(node: Node, chain: str) -> list[int]:
    """The rows of a chain."""
    found = [row async for row in node.services.upkeep.audit.rows(node.tenant.tenant_id)]
    return [row.seq for row in found if row.chain == chain]


def of(node: Node, chain: str, *more: Any) -> tuple[Any, ...]:
    """A condition for the rows of one chain."""
    return (T.c.tenant_id == node.tenant.tenant_id, T.c.chain == chain, *more)


DAMAGE = {"altered": 4, "missing": 5, "reordered": 4, "truncated": 5}


async def damage(node: Node, chain: str, how: str) -> None:
    """What an intruder does to rows 4 and 5."""
    mine = of(node, chain)
    if how == "altered":
        await alter(node, sa.update(T).where(*mine, T.c.seq == 4).values(payload=b"[]"))
    elif how in ("missing", "truncated"):
        await alter(node, sa.delete(T).where(*mine, T.c.seq == (4 if how == "missing" else 5)))
    else:
        moves = ((4, 99), (5, 4), (99, 5))
        await alter(node, *(sa.update(T).where(*mine, T.c.seq == old).values(seq=new) for old, new in moves))


@pytest.mark.parametrize("how", DAMAGE, ids=lambda d: f"LOG-010 {d}")
@pytest.mark.parametrize("pruned", [False, True], ids=["whole", "pruned"])
async def test_damage_shows(pair: Pair, how: str, pruned: bool) -> None:
    """An intruder could remove the traces, more easily so from a history whose beginning is gone anyway."""
    a, b = pair
    chain = await write(a, 2)
    a.clock.now += DAY
    await write(a, 3)
    if pruned:
        assert await a.services.upkeep.prune_audit(a.clock.now - 10) > 2
    await a.services.upkeep.housekeeping.finish()
    assert await seqs(b, chain) == ([3, 4, 5] if pruned else [1, 2, 3, 4, 5])
    assert await breaks(b) == []
    await damage(a, chain, how)
    assert (chain, DAMAGE[how]) in await breaks(b)


async def test_two_nodes_write_chains_that_a_checkpoint_binds(pair: Pair) -> None:
    """A whole chain could vanish, with everything that one process did."""
    a, b = pair
    chains = await at_once(lambda: write(a, 20), lambda: write(b, 20))
    assert len(set(chains)) == 2
    await at_once(a.services.upkeep.housekeeping.finish, b.services.upkeep.housekeeping.finish)
    assert await breaks(a) == await breaks(b) == []
    await alter(a, sa.delete(T).where(*of(b, chains[1])))
    assert await breaks(a) == [(chains[1], 20)]


async def test_a_clean_stop_binds_the_last_row(url: str, tmp_path: Path) -> None:
    """What happened in the last seconds before a restart could be cut off unseen."""
    from watchword.server.app import Application
    from watchword.server.composition.foundation import World

    async with nodes(tmp_path, url, 1) as (a,):
        application = Application(a.services.settings, World(clock=a.clock, monotonic=a.clock))
        async with application.running() as running:
            b = Node(running, a.tenant, a.clock)
            chain = await write(b, 3)
        assert await breaks(a) == []
        await alter(a, sa.delete(T).where(*of(a, chain, T.c.seq == 3)))
        assert await breaks(a) == [(chain, 3)]


async def test_a_chain_that_a_failure_ended_is_bound_too(pair: Pair) -> None:
    """After an outage, the rows before it would hang loose: their writer has begun a new chain."""
    a, b = pair
    chain = await write(a, 3)
    taken = [row async for row in b.services.upkeep.audit.rows(a.tenant.tenant_id) if row.chain == chain]
    clash = msgspec.structs.replace(taken[-1], seq=4)
    await alter(a, sa.insert(T).values(**msgspec.structs.asdict(clash)))
    with pytest.raises(Exception, match=r"UNIQUE|unique"):
        await write(a, 1)
    await alter(a, sa.delete(T).where(*of(a, chain, T.c.seq == 4)))
    await write(a, 1)
    await a.services.upkeep.housekeeping.finish()
    await alter(a, sa.delete(T).where(*of(a, chain, T.c.seq == 3)))
    assert (chain, 3) in await breaks(b)


async def test_pruning_takes_what_is_old_and_says_so(pair: Pair) -> None:
    """Old events would stay for ever, or leave without a trace of who decided it."""
    a, b = pair
    chain = await write(a, 7)
    cut = a.clock.now + 1
    a.clock.now += DAY
    await write(a, 2)
    other = await write(b, 3)
    await at_once(a.services.upkeep.housekeeping.finish, b.services.upkeep.housekeeping.finish)
    batches: list[int] = []
    removed = await a.services.upkeep.prune_audit(cut, batches.append)
    assert removed == sum(batches) > 7
    assert (await seqs(b, chain), await seqs(b, other)) == ([8, 9], [1, 2, 3])
    recorded = [event async for row in b.services.upkeep.audit.rows(a.tenant.tenant_id) for event in events_of(row)]
    assert AuditPruned(at=a.clock.now, before=cut, rows=removed) in recorded
    assert await a.services.upkeep.prune_audit(cut) == 0
    await write(a, 1)
    await write(b, 1)
    assert await breaks(b) == []


async def test_an_interrupted_pruning_still_verifies_and_is_taken_up(pair: Pair) -> None:
    """A crash between two batches would look like an attack, or its rows would stay for ever."""
    a, b = pair
    chain = await write(a, 6)
    cut = a.clock.now + 1
    a.clock.now += DAY
    await write(a, 2)
    await a.services.upkeep.housekeeping.finish()
    key = await audit_key(a.engine, a.services.master)
    small = AuditPruning(a.engine, a.store, a.services.upkeep.checkpoints, key, a.clock, batch=2)
    given_up = await small.give_up(cut, lambda rows: AuditPruned(at=a.clock.now, before=cut, rows=rows))
    batches = small.remove()
    while chain and 3 not in (await seqs(b, chain))[:1]:
        assert await anext(batches) <= 2
    await batches.aclose()
    assert await seqs(b, chain) == [3, 4, 5, 6, 7, 8]
    assert await breaks(b) == []
    left = await b.services.upkeep.prune_audit(cut)
    assert 4 <= left < given_up
    assert await seqs(b, chain) == [7, 8]
    assert await breaks(b) == []


async def test_two_prunings_at_once_are_one(pair: Pair) -> None:
    """Every worker prunes; the log would say it twice, or an anchor of one would undo the other's."""
    a, b = pair
    for node in pair:
        await write(node, 4)
    cut = a.clock.now + 1
    a.clock.now += DAY
    results = await at_once(lambda: a.services.upkeep.prune_audit(cut), lambda: b.services.upkeep.prune_audit(cut))
    assert all(isinstance(result, int) for result in results), results
    events = [e async for row in a.services.upkeep.audit.rows(a.tenant.tenant_id) for e in events_of(row)]
    assert [type(event) for event in events].count(AuditPruned) == 1
    assert await breaks(b) == []


@pytest.mark.parametrize("forgery", ["nothing signed", "a key of his own", "another cut", "an anchor that vanished"])
async def test_a_forged_pruning_shows(pair: Pair, forgery: str) -> None:
    """Whoever removes his traces would only have to call it housekeeping."""
    a, b = pair
    chain = await write(a, 4)
    if forgery == "an anchor that vanished":
        cut = a.clock.now + 1
        a.clock.now += DAY
        await write(a, 2)
        await a.services.upkeep.prune_audit(cut)
        assert await breaks(b) == []
        await alter(a, sa.delete(schema.anchor))
        assert (chain, 5) in await breaks(b)
        return
    rows = [row async for row in a.services.upkeep.audit.rows(a.tenant.tenant_id) if row.chain == chain]
    await alter(a, sa.delete(T).where(*of(a, chain, T.c.seq <= 2)))
    if forgery == "nothing signed":
        assert await breaks(b) == [(chain, 3)]
        return
    pruned = {f"{a.tenant.tenant_id}/{chain}": (2, rows[1].hash)}
    statement = json.dumps({"at": 1.0, "before": 1.0, "pruned": pruned}).encode()
    if forgery == "a key of his own":
        signature = PrivateKey.generate(Algorithm.ES256).sign(statement)
    else:
        signature = (await audit_key(a.engine, a.services.master)).sign(statement.replace(b"[2,", b"[1,"))
    await alter(a, sa.insert(schema.anchor).values(id=77, statement=statement, signature=signature))
    assert await breaks(b) == [("anchor 77", 77), (chain, 3)]
    a.clock.now += DAY
    await a.services.upkeep.prune_audit(a.clock.now - 1)
    assert ("anchor 77", 77) in await breaks(b)


async def test_rows_younger_than_the_cut_stay_when_a_clock_was_set_back(pair: Pair) -> None:
    """An event of today would be pruned because one written after it carries yesterday's time."""
    a, b = pair
    chain = await write(a, 2)
    a.clock.now += 2 * DAY
    await write(a, 1)
    a.clock.now -= 2 * DAY
    await write(a, 1)
    a.clock.now += 2 * DAY
    await a.services.upkeep.prune_audit(a.clock.now - DAY)
    assert await seqs(b, chain) == [3, 4]
    assert await breaks(b) == []


async def test_checkpoints_of_what_is_gone_go_too(pair: Pair) -> None:
    """A checkpoint every ten seconds would outgrow the log that it guards."""
    a, b = pair
    for _ in range(5):
        await write(a, 1)
        await a.services.upkeep.housekeeping.finish()
    a.clock.now += DAY
    chain = await write(a, 2)
    await a.services.upkeep.housekeeping.finish()
    await a.services.upkeep.prune_audit(a.clock.now - 10)
    async with b.engine.connect() as connection:
        statements = [bytes(row[0]) for row in await connection.execute(sa.select(schema.audit_checkpoint.c.statement))]
    assert len(statements) == 2
    assert b'"first":7' in statements[1]
    assert f"/{chain}".encode() in statements[0]
    await alter(a, sa.delete(T).where(*of(a, chain, T.c.seq == 7)))
    assert await breaks(b) == [(chain, 7)]


async def test_the_future_is_not_pruned(pair: Pair) -> None:
    """A mistyped year would erase everything."""
    a, _ = pair
    prune: PruneAudit = a.services.upkeep.prune_audit
    with pytest.raises(Invalid, match="past"):
        await prune(a.clock.now + 1)
