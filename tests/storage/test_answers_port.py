"""The mark of a request with an `Idempotency-Key`: in the transaction of its effect, once, on both databases."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace
from tests.support.nodes import Node, at_once

from watchword.server.registry.errors import Conflict
from watchword.server.service.ports import Answers, CarriedOut, RequestMark
from watchword.server.service.registry.create_application import NewApplication, create_application

Pair = tuple[Node, Node]


def marked(one: Node, key: str = "k", print_: bytes = b"f") -> RequestMark:
    """Of the tester's request."""
    return RequestMark(one.tenant.tenant_id, "tester", key, print_)


def answers(one: Node) -> Answers:
    """The node's port."""
    return one.services.storage.answers


async def created(one: Node, mark: RequestMark) -> str:
    """The client id of an application made by the request of this mark."""
    caller = replace(one.caller, mark=mark)
    made, _ = await create_application(one.desk, caller, NewApplication(name="made"))
    return made.client_id


async def count(one: Node) -> int:
    """How many applications are called `made`."""
    async with one.store.snapshot() as seen:
        everybody = await seen.applications.page(one.tenant.tenant_id, None, 1_000)
    return sum(each.name == "made" for each in everybody)


async def test_a_crash_before_the_answer_is_stored(pair: Pair) -> None:
    """kill -9 after the commit: without a mark beside the effect, the repeated request would do everything again."""
    a, b = pair
    await created(a, marked(a))
    kept = await answers(b).find(marked(b))
    assert kept is not None
    assert (kept.fingerprint, kept.at, kept.sealed) == (b"f", int(a.clock.now), None)
    with pytest.raises(CarriedOut):
        await created(b, marked(b))
    assert await count(b) == 1


async def test_a_crash_before_the_commit(pair: Pair) -> None:
    """The mark would be there without the effect, and the repeated request be told that all was done."""
    a, b = pair
    with pytest.raises(Conflict):
        async with a.store.transaction(mark=marked(a)) as tx:
            await tx.applications.add(a.application("c-1", "made"))
            raise Conflict("as a crash")
    assert await answers(b).find(marked(b)) is None
    await created(b, marked(b))
    assert await count(a) == 1


async def test_the_answer_is_added_to_its_mark(pair: Pair) -> None:
    """The answer would be lost, or be that of another key."""
    a, b = pair
    await created(a, marked(a))
    assert await answers(a).keep(marked(a), b"sealed")
    found = await answers(b).find(marked(b, print_=b"another"))
    assert found is not None
    assert (found.fingerprint, found.sealed) == (b"f", b"sealed")
    assert await answers(b).find(marked(b, key="K")) is None
    assert not await answers(b).keep(marked(b, key="K"), b"sealed")


async def test_a_race_has_one_winner(pair: Pair) -> None:
    """Two nodes would both find no mark, and both create."""
    a, b = pair
    for number in range(5):
        before = await count(a)
        results = await at_once(*(partial(created, one, marked(one, f"k{number}")) for one in (a, b, a, b)))
        assert [type(each) for each in results if not isinstance(each, str)] == [CarriedOut] * 3
        assert await count(b) == before + 1
