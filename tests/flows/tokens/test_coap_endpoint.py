"""The CoAP endpoint within this process: what a network cannot be made to show at will."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cbor2
from aiocoap import POST, Message
from tests.support.instance import Instance, credentials_of, instance

from watchword.server.audit.search import Wanted
from watchword.server.coap.token import MAX_AT_ONCE, TokenResource
from watchword.server.protocol.errors import Unavailable
from watchword.server.protocol.request import TokenRequest
from watchword.server.service.ports import StorageUnavailable


def endpoint(running: Instance, *, protected: bool = True, **other: Any) -> TokenResource:
    """The resource over the instance's own verb, or over another one."""
    services = running.services
    view, issue = other.get("view", services.view), other.get("issue", services.tokens.issue)
    native, refusals = services.tokens.native, services.tokens.refusals
    return TokenResource(view, issue, native, refusals, services.deadline, protected=protected)


def message(members: dict[Any, Any]) -> Message:
    """As the listener hands it over."""
    made = Message(code=POST, content_format=19, payload=cbor2.dumps(members, canonical=True))
    made.opt.uri_path = ("t", "default", "token")
    made.remote = SimpleNamespace(hostinfo="[2001:db8::1]:4711")
    return made


async def ask(running: Instance, resource: TokenResource, members: dict[Any, Any]) -> Message:
    """The answer; a token counts for the witness of this instance (N5) like one that HTTP gave."""
    answer = await resource.render(message(members))
    running.witness.issued += str(answer.code).startswith("2.01")
    return answer


async def device(running: Instance) -> dict[Any, Any]:
    running.witness.elsewhere = True  # by CoAP
    api = await running.api("urn:meters", "m:w", format="cwt")
    client_id, secret = credentials_of(await running.application("m", api, "m:w", auth_method="client_secret_post"))
    return {24: client_id, 25: secret.encode()}


async def events(running: Instance) -> list[Any]:
    await running.services.upkeep.housekeeping.finish()
    tenant = (await running.services.view.tenant("default")).tenant.tenant_id  # type: ignore[union-attr]
    return list((await running.services.upkeep.audit.search(tenant, Wanted(), None, 50)).events)


async def test_the_same_event_and_the_same_refusal_as_over_http(tmp_path: Path) -> None:
    """A token that is in no audit log, or a stranger who is not counted, because they came by radio."""
    async with instance(tmp_path) as running:
        members = await device(running)
        resource = endpoint(running)
        assert str((await ask(running, resource, members)).code).startswith("2.01")
        assert str((await ask(running, resource, {**members, 25: b"wrong"})).code).startswith("4.01")
        text = str(await events(running))
        assert "TokenIssued" in text
        assert "RequestsRefused" in text
        assert "2001:db8::/64" in text


async def test_no_secret_passes_where_others_can_read_it(tmp_path: Path) -> None:
    """On a network without encryption a secret that once passed is everybody's; the device is told to rotate it."""
    async with instance(tmp_path) as running:
        members = await device(running)
        answer = await ask(running, endpoint(running, protected=False), members)
        told = cbor2.loads(answer.payload)
        assert (str(answer.code)[:4], told[30]) == ("4.00", 1)
        assert "rotate this secret" in told[31]


async def test_the_database_is_away(tmp_path: Path) -> None:
    """DBF: 5.03 with Max-Age, so that a device waits and comes again; never a token that is not on record."""

    async def fails(*_: object) -> None:
        raise Unavailable("the database is away; try again")

    class Away:
        async def tenant(self, slug: str) -> None:
            raise StorageUnavailable("away")

    async with instance(tmp_path) as running:
        members = await device(running)
        for resource in (endpoint(running, issue=fails), endpoint(running, view=Away())):
            answer = await ask(running, resource, members)
            assert str(answer.code).startswith("5.03")
            assert answer.opt.max_age == 1


async def test_a_crowd_waits_outside(tmp_path: Path) -> None:
    """Who comes on top of those that wait is sent away at once: a queue without an end is a hang of five seconds."""
    gate, everybody = asyncio.Event(), asyncio.Event()
    inside: list[str] = []

    async with instance(tmp_path) as running:
        members = await device(running)

        async def slow(slug: str, request: TokenRequest, surface: Any) -> Any:
            inside.append(slug)
            if len(inside) == MAX_AT_ONCE:
                everybody.set()
            await gate.wait()
            return await running.services.tokens.issue(slug, request, surface)

        resource = endpoint(running, issue=slow)
        waiting: list[Awaitable[Message]] = [
            asyncio.ensure_future(ask(running, resource, members)) for _ in range(MAX_AT_ONCE)
        ]
        await everybody.wait()
        turned_away = await ask(running, resource, members)
        assert (str(turned_away.code)[:4], turned_away.opt.max_age) == ("5.03", 1)
        gate.set()
        assert {str(answer.code)[:4] for answer in await asyncio.gather(*waiting)} == {"2.01"}
        assert str((await ask(running, resource, members)).code).startswith("2.01")


async def test_what_nobody_foresaw(tmp_path: Path) -> None:
    """A defect is 5.00 without a word of what is inside."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret inside")

    async with instance(tmp_path) as running:
        answer = await ask(running, endpoint(running, issue=broken), await device(running))
        assert str(answer.code).startswith("5.00")
        assert answer.payload == b""


async def test_a_disabled_device(tmp_path: Path) -> None:
    """DIS-001 over CoAP: it gets no token from the moment on that an administrator said so."""
    async with instance(tmp_path) as running:
        members = await device(running)
        await running.call("PATCH", f"/applications/{members[24]}", {"enabled": False})
        answer = await ask(running, endpoint(running), members)
        assert str(answer.code).startswith("4.01")


async def test_limits_hold_over_coap_too(tmp_path: Path) -> None:
    """A limit that ends where HTTP ends is none: 4.29 (RFC 8516) with Max-Age, for tokens and for wrong guesses."""
    async with instance(tmp_path, wrong_proofs=30) as running:
        members = await device(running)
        limit = {"rate_limit": {"per_second": 1.0, "burst": 2}}
        changed = await running.call("PATCH", f"/applications/{members[24]}", limit)
        assert changed.status_code == 200, changed.text
        resource = endpoint(running)
        answers = [await ask(running, resource, members) for _ in range(4)]
        assert {str(answer.code)[:4] for answer in answers} == {"2.01", "4.29"}
        assert answers[-1].opt.max_age >= 1
        wrong = [await ask(running, resource, {**members, 25: b"wrong"}) for _ in range(40)]
        assert [str(wrong[n].code)[:4] for n in (0, -1)] == ["4.01", "4.29"]
