"""Store and Collection: a change is one transaction, versions guard it, and ids stay taken."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from tests.support.nodes import Node, at_once

from watchword.server.audit.events import ApplicationCreated
from watchword.server.audit.search import Wanted
from watchword.server.registry.errors import Conflict, VersionMismatch
from watchword.server.storage import schema

Pair = tuple[Node, Node]


async def add(node: Node, client_id: str, name: str = "caller") -> None:
    """One application, with its event."""
    async with node.store.transaction() as tx:
        await tx.applications.add(node.application(client_id, name))
        tx.record(node.tenant.tenant_id, ApplicationCreated(at=1.0, client_id=client_id, name=name))


async def totals(node: Node) -> tuple[int, ...]:
    """How many applications, audit rows and feed entries there are."""
    async with node.engine.connect() as connection:
        counts = [
            await connection.scalar(sa.select(sa.func.count()).select_from(table))
            for table in (schema.application, schema.audit, schema.change)
        ]
    return tuple(int(count or 0) for count in counts)


async def test_a_change_its_event_and_its_feed_entry_are_one(pair: Pair) -> None:
    """A change without its event could not be proved, one without its feed entry would not be seen."""
    a, b = pair
    before = await totals(b)
    await add(a, "one")
    assert [after - was for after, was in zip(await totals(b), before, strict=True)] == [1, 1, 1]


async def test_a_transaction_that_fails_leaves_nothing(pair: Pair) -> None:
    """A half-made change would stay behind: a row without its event, or the other way round."""
    a, b = pair
    before = await totals(b)
    with pytest.raises(RuntimeError, match="on purpose"):
        async with a.store.transaction() as tx:
            await tx.applications.add(a.application("one"))
            tx.record(a.tenant.tenant_id, ApplicationCreated(at=1.0, client_id="one", name="caller"))
            raise RuntimeError("on purpose")
    assert await totals(b) == before
    await add(a, "two")
    assert (await a.services.upkeep.audit.verify(a.tenant.tenant_id)).breaks == []


async def test_of_two_changes_from_one_version_one_wins(pair: Pair) -> None:
    """The second operator would overwrite the first one's change without having seen it."""
    a, b = pair
    await add(a, "one")

    async def rename(node: Node, name: str) -> None:
        async with node.store.transaction() as tx:
            await tx.applications.replace(node.application("one", name, version=2))

    for attempt in range(5):
        results = await at_once(lambda: rename(a, "left"), lambda: rename(b, "right"))
        if attempt == 0:
            assert sorted(type(result).__name__ for result in results) == ["NoneType", "VersionMismatch"]
        else:
            assert [type(result) for result in results] == [VersionMismatch, VersionMismatch]


@pytest.mark.parametrize("what", ["id", "identifier"])
async def test_of_two_of_one_name_one_is_made(pair: Pair, what: str) -> None:
    """Two APIs of one identifier would share tokens; a client id used twice would inherit grants."""
    a, b = pair

    async def make(node: Node, number: int) -> None:
        async with node.store.transaction() as tx:
            if what == "id":
                await tx.applications.add(node.application("same", f"name {number}"))
            else:
                await tx.apis.add(node.api(f"api {number}", "https://same.example/"))

    results = await at_once(*(lambda n=n: make((a, b)[n % 2], n) for n in range(6)))
    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 5 + ["NoneType"]


async def test_a_deleted_id_stays_taken_and_its_name_is_free(pair: Pair) -> None:
    """An old token's subject would become somebody else, or a name could be used only once for ever."""
    a, b = pair
    async with a.store.transaction() as tx:
        await tx.apis.add(a.api("first", "https://rs.example/"))
    async with b.store.transaction() as tx:
        await tx.apis.remove(replace(b.api("first", "https://rs.example/"), version=2))
    async with a.store.transaction() as tx:
        assert await tx.apis.get(a.tenant.tenant_id, "first") is None
        assert await tx.apis.find(a.tenant.tenant_id, "https://rs.example/") is None
        await tx.apis.add(a.api("second", "https://rs.example/"))
    with pytest.raises(Conflict):
        async with a.store.transaction() as tx:
            await tx.apis.add(a.api("first", "https://other.example/"))


async def test_pages_hold_everything_once_and_in_order(pair: Pair) -> None:
    """A list would skip or repeat a record where a page ends, most easily among equal names."""
    a, b = pair
    async with a.store.transaction() as tx:
        for number in range(25):
            await tx.applications.add(a.application(f"id {number:02}", f"name {number // 10}%_"))
    found: list[str] = []
    after: tuple[str, str] | None = None
    while True:
        async with b.store.snapshot() as seen:
            page = await seen.applications.page(b.tenant.tenant_id, after, 4, "name")
        found += [each.client_id for each in page]
        if len(page) < 4:
            break
        after = (page[-1].name, page[-1].client_id)
        if after[1] == "id 11":
            await add(a, "id 11b", "name 1%_")
    assert found == sorted([f"id {number:02}" for number in range(25)] + ["id 11b"])
    async with b.store.snapshot() as seen:
        assert await seen.applications.page(b.tenant.tenant_id, None, 99, "name 1_") == []
        assert len(await seen.applications.page(b.tenant.tenant_id, None, 99, "name 1%")) == 11


async def test_reading_waits_for_no_writer(pair: Pair) -> None:
    """A list in the console would hold up every token, or an import would stop every list."""
    a, b = pair
    await add(a, "one")
    async with a.store.transaction() as tx:
        await tx.applications.replace(a.application("one", "renamed", version=2))
        for node in (a, b):
            async with node.store.snapshot() as seen:
                found = await seen.applications.get(b.tenant.tenant_id, "one")
                assert found is not None
                assert found.name == "caller"
            assert await node.store.secret_use(b.tenant.tenant_id, ["x"]) == {}
            assert await node.services.upkeep.audit.search(b.tenant.tenant_id, Wanted(), None, 1)


async def test_a_snapshot_is_of_one_moment(pair: Pair) -> None:
    """An export could hold a role that names an API which it does not hold."""
    a, b = pair
    async with b.store.snapshot() as seen:
        assert len(await seen.applications.page(b.tenant.tenant_id, None, 99)) == 1
        await add(a, "one")
        assert len(await seen.applications.page(b.tenant.tenant_id, None, 99)) == 1
    async with b.store.snapshot() as seen:
        assert len(await seen.applications.page(b.tenant.tenant_id, None, 99)) == 2


async def test_the_feed_is_complete_and_in_commit_order(pair: Pair) -> None:
    """A cache that read up to 7 would never hear of 6, if 6 is committed after 7."""
    a, b = pair
    reader = b.services.storage.reader
    since = await reader.newest_change()
    heard: list[int] = []

    async def follow() -> None:
        seen = since
        while len(heard) < 40:
            changes = await reader.changes(seen)
            heard.extend(change.seq for change in changes)
            seen = changes[-1].seq if changes else seen
            await asyncio.sleep(0)  # SQLite's reader answers without giving way

    async def write(node: Node, half: str) -> None:
        for number in range(20):
            await add(node, f"{half}{number}")

    results = await at_once(follow, lambda: write(a, "a"), lambda: write(b, "b"))
    assert results == [None, None, None]
    assert heard == sorted(set(heard))
    refs = {change.ref for change in await reader.changes(since)}
    assert refs == {f"{half}{number}" for half in "ab" for number in range(20)}


async def test_a_damaged_row_takes_no_list_down(pair: Pair) -> None:
    """One row that a disk or a hand has damaged would hide all the others from the operator who looks for it."""
    a, b = pair
    names = ["a", "b", "c", "d"]
    for name in names:
        await add(a, f"id-{name}", name)
    damaged = sa.update(schema.application).where(schema.application.c.id.in_(["id-a", "id-b"])).values(body=b"{")
    async with a.engine.begin() as connection:
        await connection.execute(damaged)
    async with b.store.snapshot() as look:
        found = [one.client_id for one in await look.applications.page(a.tenant.tenant_id, None, 3)]
    assert (len(found), found[1:]) == (3, ["id-c", "id-d"]), "behind the first administrator"
