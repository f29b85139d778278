"""Journal, SecretUse and keys: what the token path writes, with two nodes on one database."""

from __future__ import annotations

import asyncio
from typing import Any

import sqlalchemy as sa
from tests.support.nodes import Node, at_once

from watchword.server.audit.events import TokenIssued
from watchword.server.service.ports import OpaqueRow
from watchword.server.service.registry.change_application import ApplicationChange, update_application
from watchword.server.service.registry.create_application import NewApplication, create_application
from watchword.server.storage import schema

Pair = tuple[Node, Node]


def issued(number: int) -> TokenIssued:
    """A token's event."""
    return TokenIssued(at=1.0, token_id=f"token-{number}", audience=("x",), scope="", expires_at=2)


async def registered(node: Node, name: str = "caller") -> str:
    """A new application's client id."""
    made, _ = await create_application(node.desk, node.caller, NewApplication(name=name))
    return made.client_id


async def kept(node: Node) -> tuple[bytes, int]:
    """All audit payloads, and how many opaque tokens there are."""
    async with node.engine.connect() as connection:
        payloads = [bytes(row[0]) for row in await connection.execute(sa.select(schema.audit.c.payload))]
        tokens = await connection.scalar(sa.select(sa.func.count()).select_from(schema.opaque_token))
    return b"\n".join(payloads), int(tokens or 0)


async def test_both_nodes_write_and_nothing_is_lost(pair: Pair) -> None:
    """Two nodes would overwrite each other's rows, or a token's event would be missing."""
    client_id = await registered(pair[0])

    async def write(node: Node, first: int) -> list[bool]:
        seq = await node.services.storage.reader.newest_change()
        submit = node.services.commits.submit
        rows = [OpaqueRow(node.tenant.tenant_id, f"hash-{n}", 9, b"{}") for n in range(first, first + 50)]
        waiting = [submit(node.tenant.tenant_id, client_id, issued(first + n), row, seq) for n, row in enumerate(rows)]
        return list(await asyncio.gather(*waiting))

    results = await at_once(*(lambda k=k: write(pair[k % 2], k * 100) for k in range(4)))
    assert results == [[True] * 50] * 4
    payloads, tokens = await kept(pair[0])
    assert tokens == 200
    assert all(payloads.count(b'"token-%d"' % (k * 100 + n)) == 1 for k in range(4) for n in range(50))
    for node in pair:
        await node.services.upkeep.housekeeping.finish()
    assert (await pair[1].services.upkeep.audit.verify(pair[1].tenant.tenant_id)).breaks == []


async def test_nothing_is_written_when_what_was_judged_changed(pair: Pair) -> None:
    """A disabled application would get one more token from the node that did not know yet."""
    a, b = pair
    client_id = await registered(a)
    as_of = await b.services.storage.reader.newest_change()
    await update_application(a.desk, a.caller, client_id, ApplicationChange(enabled=False))
    row = OpaqueRow(b.tenant.tenant_id, "hash", 9, b"{}")
    assert await b.services.commits.submit(b.tenant.tenant_id, client_id, issued(1), row, as_of) is False
    changes = await b.services.storage.journal.commit((), (row,), as_of)
    assert [(change.kind, change.ref) for change in changes] == [("application", client_id), ("revocation", "")]
    payloads, tokens = await kept(a)
    assert (tokens, b'"token-1"' in payloads) == (0, False)


async def test_another_application_s_change_refuses_nobody(pair: Pair) -> None:
    """Every change anywhere would cost every request of the moment a second judgement."""
    a, b = pair
    client_id, other = await registered(a, "one"), await registered(a, "other")
    as_of = await b.services.storage.reader.newest_change()
    await update_application(a.desk, a.caller, other, ApplicationChange(enabled=False))
    assert await b.services.commits.submit(b.tenant.tenant_id, client_id, issued(1), None, as_of) is True


async def test_issue_races_disable(pair: Pair) -> None:
    """RAC-001 without HTTP: a token's event could come after the event that forbids it."""
    a, b = pair
    for number in range(10):
        client_id = await registered(a, f"app {number}")
        as_of = await b.services.storage.reader.newest_change()
        allowed, _ = await at_once(
            lambda c=client_id, n=number, s=as_of: b.services.commits.submit(b.tenant.tenant_id, c, issued(n), None, s),
            lambda c=client_id: update_application(a.desk, a.caller, c, ApplicationChange(enabled=False)),
        )
        payloads, _ = await kept(a)
        assert (b'"token-%d"' % number in payloads) is allowed
        late = await b.services.commits.submit(b.tenant.tenant_id, client_id, issued(1_000 + number), None, as_of)
        assert late is False


async def test_last_used_never_goes_back(pair: Pair) -> None:
    """A secret in daily use would look abandoned because a late worker wrote an older time."""
    a, b = pair
    id_ = a.tenant.tenant_id
    await at_once(
        *(
            lambda k=k: pair[k % 2].services.storage.journal.save_uses({(id_, "s"): 100 + k, (id_, f"own {k}"): k})
            for k in range(8)
        )
    )
    await b.services.storage.journal.save_uses({(id_, "s"): 5})
    assert await a.store.secret_use(id_, ["s", "own 3", "never"]) == {"s": 107, "own 3": 3}


async def test_last_used_outlives_an_outage(pair: Pair) -> None:
    """A database that is away for a moment would erase when secrets were used."""
    from watchword.server.service.clients.secret_use import SecretUse
    from watchword.server.service.ports import StorageUnavailable

    a, _ = pair
    answers: list[Any] = [StorageUnavailable("away"), None]

    async def save(used: Any) -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        await a.services.storage.journal.save_uses(used)

    uses = SecretUse(save)
    uses.note(a.tenant.tenant_id, "s", 7)
    try:
        await uses.flush()
    except StorageUnavailable:
        uses.note(a.tenant.tenant_id, "s", 8)
    await uses.flush()
    assert await a.store.secret_use(a.tenant.tenant_id, ["s"]) == {"s": 8}


async def test_what_expired_is_purged_and_nothing_else(pair: Pair) -> None:
    """The database would grow for ever, or a revoked token would come back to life."""
    a, b = pair
    id_, now = a.tenant.tenant_id, int(a.clock())
    async with a.store.transaction() as tx:
        for token_id, expires_at in (("old", now - 100), ("new", now + 100)):
            assert await tx.revoke_token(id_, token_id, expires_at) is True
    seq = await a.services.storage.reader.newest_change()
    rows = (OpaqueRow(id_, "old", now - 100, b"{}"), OpaqueRow(id_, "new", now + 100, b"{}"))
    assert not await a.services.storage.journal.commit((), rows, seq)
    await at_once(lambda: a.store.purge(now), lambda: b.store.purge(now))
    reader = b.services.storage.reader
    assert (await reader.opaque(id_, "old"), await reader.opaque(id_, "new")) == (None, b"{}")
    state = await reader.tenant("default", 0.0)
    assert state is not None
    assert state.revoked == {"new": now + 100}
