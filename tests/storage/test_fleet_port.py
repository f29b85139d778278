"""Fleet: applications by the thousand are found, claimed, added and changed as one by one, in a few statements."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from tests.support.nodes import Node, at_once

from watchword.server.registry.errors import Conflict
from watchword.server.registry.model import Application
from watchword.server.registry.revocation import of_application
from watchword.server.registry.tags import label_tag
from watchword.server.storage import schema
from watchword.server.storage.each import for_each

Pair = tuple[Node, Node]
EU, US = label_tag("region", "eu"), label_tag("region", "us")


def devices(node: Node, count: int, **labels: str) -> list[Application]:
    """Records with ids in order."""
    return [replace(node.application(f"device {n:04}", f"name {n}"), labels=labels) for n in range(count)]


async def add(node: Node, records: list[Application]) -> None:
    """In one transaction."""
    async with node.store.transaction() as tx:
        await tx.fleet.add(records)


async def ids(node: Node, *tags: str, after: str = "", limit: int = 9_999) -> list[str]:
    """Which have all of these tags."""
    async with node.store.snapshot() as seen:
        return await seen.fleet.find(node.tenant.tenant_id, tags, after, limit)


async def feed(node: Node) -> list[str]:
    """The feed's refs of applications."""
    async with node.engine.connect() as connection:
        rows = await connection.execute(
            sa.select(schema.change.c.ref).where(schema.change.c.kind == "application").order_by(schema.change.c.seq)
        )
        return [row[0] for row in rows]


async def test_all_of_a_batch_are_there_and_no_cache_is_told(pair: Pair) -> None:
    """An import would lose devices; or a feed entry for each would make every worker's commit read all of them."""
    a, b = pair
    before = await feed(b)
    await add(a, devices(a, 1_200, region="eu"))
    assert await ids(b, EU) == [f"device {n:04}" for n in range(1_200)]
    assert await feed(b) == before
    known = await b.services.storage.reader.application(b.tenant.tenant_id, "device 0007")
    assert known is not None
    assert known.labels == {"region": "eu"}


async def test_a_batch_with_a_used_id_leaves_nothing(pair: Pair) -> None:
    """Half of a batch would be registered, and nobody could say which half."""
    a, b = pair
    await add(a, devices(a, 1))
    with pytest.raises(Conflict):
        await add(b, [*devices(b, 1, region="us"), replace(b.application("device 0001"), labels={"region": "us"})])
    assert await ids(a, US) == []


async def test_a_selection_has_all_of_its_tags_in_pages_without_gaps(pair: Pair) -> None:
    """`disable --label region=eu --label model=x` would hit devices of another model, or skip some of its own."""
    a, b = pair
    await add(
        a, [replace(d, labels={**d.labels, "model": "xy"[n % 2]}) for n, d in enumerate(devices(a, 20, region="eu"))]
    )
    wanted = [f"device {n:04}" for n in range(0, 20, 2)]
    found: list[str] = []
    while page := await ids(b, EU, label_tag("model", "x"), after=found[-1] if found else "", limit=3):
        found += page
    assert found == wanted
    async with b.store.snapshot() as seen:
        assert await seen.fleet.count(b.tenant.tenant_id, [EU, label_tag("model", "x")]) == 10
        assert await seen.fleet.count(b.tenant.tenant_id, [US]) == 0
    assert await ids(b, label_tag("region", "e"), EU) == []


async def test_tags_follow_each_change_also_one_by_one(pair: Pair) -> None:
    """A device that moved would be disabled with the region that it left."""
    a, b = pair
    first, second, third = devices(a, 3, region="eu")
    async with a.store.transaction() as tx:
        await tx.applications.add(first)
        await tx.fleet.add([second, third])
    async with b.store.transaction() as tx:
        await tx.applications.replace(replace(first, labels={"region": "us"}, version=2))
        await tx.applications.remove(replace(third, version=2))
        [locked] = await tx.fleet.named(b.tenant.tenant_id, [second.client_id, "nobody"])
        await tx.fleet.replace([(locked, replace(locked, labels={"region": "us"}, enabled=False, version=2))])
    assert await ids(a, EU) == []
    assert await ids(a, US) == [first.client_id, second.client_id]
    known = await a.services.storage.reader.application(a.tenant.tenant_id, second.client_id)
    assert known is not None
    assert (known.enabled, known.version) == (False, 2)


async def test_a_change_of_many_is_heard_in_few_entries(pair: Pair) -> None:
    """100,000 entries would keep every worker reading its feed for longer than the promised second."""
    a, b = pair
    made = devices(a, 1_200)
    await add(a, made)
    tenant = await b.services.view.tenant("default")
    assert tenant is not None
    for each in (made[0], made[700]):
        assert await b.services.view.standing(tenant, each.client_id) is not None
    before = len(await feed(a))
    async with a.store.transaction() as tx:
        found = await tx.fleet.named(a.tenant.tenant_id, [each.client_id for each in made])
        await tx.fleet.replace([(each, replace(each, enabled=False, version=2)) for each in found])
    heard = (await feed(a))[before:]
    assert len(heard) == 3
    assert sorted("\n".join(heard).split("\n")) == [each.client_id for each in made]
    await b.services.view.refresh()
    assert await b.services.view.tenant("default") is tenant, "a change of applications made a worker forget the tenant"
    for each in (made[0], made[700]):
        standing = await b.services.view.standing(tenant, each.client_id)
        assert standing is not None
        assert not standing.application.enabled


async def test_a_token_judged_before_a_change_of_many_is_judged_again(pair: Pair) -> None:
    """A device would get a token after the bulk disable that it is in was acknowledged."""
    a, b = pair
    made = devices(a, 3)
    await add(a, made)
    as_of = b.services.view.seq
    async with a.store.transaction() as tx:
        found = await tx.fleet.named(a.tenant.tenant_id, [each.client_id for each in made[:2]])
        await tx.fleet.replace([(each, replace(each, enabled=False, version=2)) for each in found])
    decided = [b.services.commits.submit(b.tenant.tenant_id, each.client_id, None, None, as_of) for each in made]
    assert await asyncio.gather(*decided) == [False, False, True]


async def test_of_two_claims_at_once_each_value_has_one_holder(pair: Pair) -> None:
    """Two imports of one file would register every device twice."""
    a, b = pair
    values = [f"SN-{n:03}" for n in range(200)]

    async def claim(node: Node, who: str, order: list[str]) -> set[str]:
        async with node.store.transaction() as tx:
            return await tx.fleet.claim(node.tenant.tenant_id, "serial", dict.fromkeys(order, who))

    left, right = await at_once(lambda: claim(a, "left", values), lambda: claim(b, "right", values[::-1]))
    assert {len(left), len(right)} == {0, 200}
    winner = "right" if left else "left"
    await add(a, [a.application(winner)])
    async with b.store.snapshot() as seen:
        held = await seen.fleet.holding(b.tenant.tenant_id, "serial", [*values, "SN-none"])
    assert {value: each.client_id for value, each in held.items()} == dict.fromkeys(values, winner)


async def test_what_is_announced_twice_is_said_once(pair: Pair) -> None:
    """The feed of revocations would hold two states of one device, and an API could keep the older one."""
    a, b = pair
    made = devices(a, 2)
    for enabled in (False, True):
        async with a.store.transaction() as tx:
            for each in made:
                tx.announce(a.tenant.tenant_id, of_application(replace(each, enabled=not enabled), 1.0))
                tx.announce(a.tenant.tenant_id, of_application(replace(each, enabled=enabled), 1.0))
    told = await b.services.storage.revocations.revocations(b.tenant.tenant_id, "", 0, 0, 99)
    assert [(each.ref, each.enabled) for _, each in told] == [(each.client_id, True) for each in made]


async def test_each_of_many_who_ask_at_once_has_its_own_answer(pair: Pair) -> None:
    """Look-ups share a question: a device would be taken for another one, or for unknown, or fail with a neighbour."""
    a, b = pair
    made = devices(a, 300)
    await add(a, made)
    async with a.store.transaction() as tx:
        await tx.applications.remove(replace(made[7], version=2))
    read, tenant_id = b.services.storage.reader.application, b.tenant.tenant_id
    wanted = [each.client_id for each in made] + ["nobody", made[3].client_id]
    asked = [asyncio.ensure_future(read(tenant_id, client_id)) for client_id in wanted]
    gone = asyncio.ensure_future(read(tenant_id, made[5].client_id))
    await asyncio.sleep(0)
    gone.cancel()
    found = [each.client_id if each is not None else None for each in await asyncio.gather(*asked)]
    assert found == [client_id if client_id not in ("nobody", made[7].client_id) else None for client_id in wanted]
    assert await read("another tenant", made[0].client_id) is None


async def plan(node: Node, statement: sa.Select[Any]) -> str:
    """How the database answers it, in its own words."""
    explain = "EXPLAIN ANALYZE" if node.engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    async with node.engine.connect() as connection:
        compiled = statement.compile(connection.sync_engine, compile_kwargs={"literal_binds": True})
        return "\n".join(map(str, await connection.exec_driver_sql(f"{explain} {compiled}")))


async def test_many_are_looked_up_by_key_also_without_statistics(pair: Pair) -> None:
    """A batch of an import would read all of the tenant's claims: the last of 100,000 devices took longer than all.

    Or a batch of a bulk change, and a token on PostgreSQL, all of its applications by the index of their names.
    """
    a, _ = pair
    tenant_id, values = a.tenant.tenant_id, [f"SN-{n:04}" for n in range(2_000)]
    made = devices(a, 2_000)
    async with a.store.transaction() as tx:
        await tx.fleet.claim(tenant_id, "serial", dict.fromkeys(values, "who"))
        await tx.fleet.add(made)
    dialect, c, t = a.engine.dialect.name, schema.claim, schema.application
    query = sa.select(c.c.value, c.c.holder).where(c.c.tenant_id == tenant_id, c.c.kind == "serial")
    said = await plan(a, for_each(dialect, values[:500], c.c.value, query))
    assert "Removed by Filter" not in said, said
    assert "tenant_id=? AND kind=? AND value=?" in said or "value = wanted.value" in said, said
    bodies = sa.select(t.c.body).where(t.c.tenant_id == tenant_id, schema.living(t))
    ids = [each.client_id for each in made[:500]]
    for statement in (for_each(dialect, ids, t.c.id, bodies), bodies.where(t.c.id == ids[0])):
        said = await plan(a, statement)
        assert "application_by_sort" not in said, said
        assert "Removed by Filter" not in said, said
