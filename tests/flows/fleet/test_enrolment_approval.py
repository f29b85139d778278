"""Devices that an administrator looks at before they come in, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from tests.support.certificates import authority, idevid, shown
from tests.support.csr import csr, new_key
from tests.support.enrolling import applications, ask, codes, enrol, group, keyed
from tests.support.instance import Instance, credentials_of, instance, node

from watchword.jose import Algorithm, PrivateKey
from watchword.server.registry.fleet.pending import COLLECTS, KEPT, MAX_WAITING, WAITS, PendingEnrolment
from watchword.server.registry.secret_text import TICKET_PREFIX, well_formed
from watchword.server.storage import schema


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url, client_cert_header="client-cert", trusted_proxies=("127.0.0.1",)) as running:
        yield running


async def waiting(ww: Instance, **query: Any) -> list[dict[str, Any]]:
    """Who waits."""
    answer = await ww.call("GET", "/enrolments", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def decide(ww: Instance, pending_id: str, what: str) -> httpx.Response:
    """approve or deny."""
    return await ww.call("POST", f"/enrolments/{pending_id}/{what}")


async def uses_left(ww: Instance) -> list[int]:
    """Of all codes."""
    async with ww.services.storage.engine.connect() as connection:
        return list((await connection.execute(sa.select(schema.enrolment_code.c.uses_left))).scalars())


async def test_a_device_waits_until_it_was_looked_at(ww: Instance) -> None:
    """It would be let in unseen, or wait for ever, or need a code that has long expired."""
    (code,) = await codes(ww, await group(ww, approval="required"), expires_in=600)
    first = await enrol(ww, code, serial="SN-1")
    assert first.status_code == 202, first.text
    assert first.headers["retry-after"] == "30"
    told = first.json()
    assert (told["status"], told["interval"]) == ("authorization_pending", 30)
    assert told["expires_at"] == int(ww.clock.now) + WAITS
    assert well_formed(told["ticket"], TICKET_PREFIX)
    assert (await enrol(ww, code, serial="SN-1")).json() == told  # the answer was lost
    assert await uses_left(ww) == [0]
    assert await applications(ww) == []
    ww.clock.now += 6_000
    (one,) = await waiting(ww)
    assert (one["serial"], one["way"], one["source"], one["state"]) == ("SN-1", "code", "127.0.0.1", "waiting")
    again = await ask(ww, ticket=told["ticket"])
    assert (again.status_code, again.json()["interval"], again.json()["ticket"]) == (202, 600, told["ticket"])
    assert (await decide(ww, one["pending_id"], "approve")).json()["state"] == "approved"
    assert await waiting(ww) == []
    assert len(await waiting(ww, state="approved")) == 1
    assert await applications(ww) == []
    made = await ask(ww, ticket=told["ticket"])
    assert made.status_code == 201, made.text
    assert (await applications(ww))[0]["serial"] == "SN-1"
    lost = await ask(ww, ticket=told["ticket"])
    assert (lost.status_code, lost.json()["client_id"]) == (200, made.json()["client_id"])
    assert (await ww.token(credentials_of(lost.json()))).status_code == 200
    assert (await ask(ww, ticket=told["ticket"])).status_code == 409  # its secret was used
    assert await waiting(ww, state="approved") == []
    assert (await decide(ww, one["pending_id"], "deny")).status_code == 404
    events = [one["event"] for one in (await ww.call("GET", "/audit")).json()["items"]]
    assert {"EnrolmentRequested", "EnrolmentApproved", "DeviceEnrolled"} <= set(events)


async def test_who_was_turned_away_is_told_so(ww: Instance) -> None:
    """A device would ask for ever, or come in by asking again; or an approval could not be taken back."""
    group_id = await group(ww, approval="required")
    code, other = await codes(ww, group_id, count=2, uses=5)
    first = (await enrol(ww, code, "d1")).json()
    (one,) = await waiting(ww)
    assert (await decide(ww, one["pending_id"], "deny")).json()["state"] == "denied"
    for answer in (await ask(ww, ticket=first["ticket"]), await enrol(ww, code, "d1")):
        assert (answer.status_code, answer.json()["error"]) == (403, "access_denied")
        assert "final" in answer.json()["error_description"]
    assert (await decide(ww, one["pending_id"], "deny")).status_code == 200
    assert (await decide(ww, one["pending_id"], "approve")).status_code == 409
    second = (await enrol(ww, other, "d2")).json()
    (two,) = await waiting(ww, group_id=group_id)
    assert (await decide(ww, two["pending_id"], "approve")).status_code == 200
    assert (await decide(ww, two["pending_id"], "deny")).status_code == 200
    assert (await ask(ww, ticket=second["ticket"])).status_code == 403
    ww.clock.now += WAITS + KEPT + 1
    await ww.services.upkeep.housekeeping.purge()
    assert (await ask(ww, ticket=first["ticket"])).status_code == 403
    assert len(await waiting(ww, state="denied")) == 2
    assert await applications(ww) == []
    assert (await decide(ww, "nobody", "approve")).status_code == 404
    assert (await ww.call("GET", "/enrolments", params={"state": "x"})).status_code == 400


async def test_fifty_requests_of_an_approved_device_are_one(ww: Instance) -> None:
    """One approval would be many devices: by code and by ticket at once, on two nodes."""
    async with node(ww.services.settings, ww.clock, ww.admin) as other:
        nodes = ww, other
        (code,) = await codes(ww, await group(ww, approval="required", max_devices=5), uses=5)
        answers = await asyncio.gather(*(enrol(nodes[n % 2], code) for n in range(10)))
        assert Counter(answer.status_code for answer in answers) == {202: 10}
        assert len({answer.json()["ticket"] for answer in answers}) == 1
        ticket = answers[0].json()["ticket"]
        assert await uses_left(ww) == [4]
        (one,) = await waiting(ww)
        assert (await decide(ww, one["pending_id"], "approve")).status_code == 200
        answers = await asyncio.gather(
            *(ask(nodes[n % 2], ticket=ticket) if n % 3 else enrol(nodes[n % 2], code) for n in range(50))
        )
        assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 49}
        assert len({answer.json()["client_id"] for answer in answers}) == 1
        assert len(await applications(ww)) == 1
        assert await uses_left(ww) == [4]


async def test_a_decision_that_meets_the_device(ww: Instance) -> None:
    """A device that was denied in the same moment would come in, and the administrator believe that it did not."""
    async with node(ww.services.settings, ww.clock, ww.admin) as other:
        (code,) = await codes(ww, await group(ww, approval="required"), uses=20)
        for n in range(10):
            ticket = (await enrol(ww, code, f"d{n}")).json()["ticket"]
            (one,) = await waiting(ww)
            assert (await decide(ww, one["pending_id"], "approve")).status_code == 200
            denied, made = await asyncio.gather(decide(ww, one["pending_id"], "deny"), ask(other, ticket=ticket))
            assert (denied.status_code, made.status_code) in ((200, 403), (404, 201))


async def test_the_queue_is_bounded_and_ends(ww: Instance) -> None:
    """A leaked code would fill the queue, and the disk, until nobody finds the devices that are meant."""
    group_id = await group(ww, approval="required")
    (code,) = await codes(ww, group_id, uses=50)
    assert (await enrol(ww, code, "early")).status_code == 202
    (first,) = await waiting(ww)
    place = await _place(ww, first["pending_id"])
    async with ww.services.storage.store.transaction(60) as tx:
        seen = await tx.pending.by_mark(*place)
        assert seen is not None
        for n in range(MAX_WAITING - 4):
            await tx.pending.add(_like(seen, n))
    answers = await asyncio.gather(*(enrol(ww, code, f"d{n}") for n in range(12)))
    assert Counter(answer.status_code for answer in answers) == {202: 3, 429: 9}
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 429} == {"600"}
    assert await uses_left(ww) == [46]  # who was sent away used nothing up
    assert (await enrol(ww, code, "early")).status_code == 202
    ww.clock.now += WAITS
    assert await waiting(ww) == []
    assert (await decide(ww, first["pending_id"], "approve")).status_code == 409
    again = await enrol(ww, code, "early")
    assert again.status_code == 202
    assert [one["pending_id"] for one in await waiting(ww)] == [first["pending_id"]]
    assert await uses_left(ww) == [46]  # the same device begins anew
    assert (await decide(ww, first["pending_id"], "approve")).status_code == 200
    ww.clock.now += COLLECTS
    await ww.services.upkeep.housekeeping.purge()
    assert (await enrol(ww, code, "early")).json()["error"] == "invalid_grant"  # the code has expired
    late = await ask(ww, ticket=again.json()["ticket"])
    assert late.status_code == 202  # and what was approved so long ago is looked at again
    ww.clock.now += WAITS + KEPT + 1
    await ww.services.upkeep.housekeeping.purge()
    assert (await ask(ww, ticket=again.json()["ticket"])).json()["error"] == "invalid_grant"


def _like(seen: PendingEnrolment, n: int) -> PendingEnrolment:
    return replace(seen, pending_id=f"p{n}", mark=f"m{n}", ticket=f"t{n}")


async def _place(ww: Instance, pending_id: str) -> tuple[str, str]:
    async with ww.services.storage.engine.connect() as connection:
        t = schema.pending_enrolment
        row = (await connection.execute(sa.select(t.c.tenant_id, t.c.mark).where(t.c.id == pending_id))).one()
    return str(row[0]), str(row[1])


async def test_keys_and_certificates_wait_too(ww: Instance) -> None:
    """Whoever stole a list, or a manufacturer's authority, would come in unseen; or a ticket be enough to be a device."""
    now = ww.clock.now
    maker = authority("maker", now)
    more = {
        "ways": ["key", "certificate"],
        "anchors": maker.pem,
        "auth_methods": ["private_key_jwt", "tls_client_auth"],
    }
    group_id = await group(ww, approval="required", **more)
    key, own = PrivateKey.generate(Algorithm.ES256), new_key()
    rows = {"rows": [{"serial": "SN-1", "jwk": key.public.to_jwk()}]}
    assert (await ww.call("POST", f"/enrolment-groups/{group_id}/expected", rows)).status_code == 200
    claim = shown(idevid("SN-2", now, maker))

    async def both() -> list[httpx.Response]:
        return [
            await ask(ww, enrolment_id="device-1", **keyed(ww, key)),
            await ask(ww, claim, group="sensors", csr=csr(own)),
        ]

    answers = await both()
    assert [answer.status_code for answer in answers] == [202, 202]
    assert not any("ticket" in answer.json() for answer in answers)
    assert [answer.status_code for answer in await both()] == [202, 202]
    other = await ask(ww, claim, group="sensors", csr=csr(new_key()))
    assert (other.status_code, other.json()["error"]) == (409, "enrolment_refused")
    listed = await waiting(ww)
    assert {(one["way"], one["serial"]) for one in listed} == {("key", "SN-1"), ("certificate", "SN-2")}
    assert key.public.thumbprint() in {one["key"] for one in listed}
    for one in listed:
        assert (await decide(ww, one["pending_id"], "approve")).status_code == 200
    made = await both()
    assert [answer.status_code for answer in made] == [201, 201]
    assert "certificate" in made[1].json()
    assert sorted(one["serial"] for one in await applications(ww)) == ["SN-1", "SN-2"]
    assert [answer.status_code for answer in await both()] == [200, 200]


async def test_what_would_be_refused_anyway_does_not_wait(ww: Instance) -> None:
    """An administrator would look at devices that cannot come in, and each would have used its code up."""
    group_id = await group(ww, approval="required", auth_methods=["private_key_jwt"], only_expected=True)
    (code,) = await codes(ww, group_id)
    key = PrivateKey.generate(Algorithm.ES256)
    assert (await enrol(ww, code)).status_code == 409
    assert (await enrol(ww, code, **keyed(ww, key))).status_code == 409
    assert (await uses_left(ww), await waiting(ww)) == ([1], [])
    rows = {"rows": [{"thumbprint": key.public.thumbprint()}]}
    assert (await ww.call("POST", f"/enrolment-groups/{group_id}/expected", rows)).status_code == 200
    first = await enrol(ww, code, **keyed(ww, key))
    assert first.status_code == 202
    assert (await enrol(ww, code, **keyed(ww, PrivateKey.generate(Algorithm.ES256)))).status_code == 409
    assert (await ask(ww, ticket=first.json()["ticket"])).status_code == 409  # without the key
    assert (await ask(ww, ticket="wwtkt_x")).json()["error"] == "invalid_grant"
    assert (await ask(ww, ticket=first.json()["ticket"], code=code)).json()["error"] == "invalid_request"
    (one,) = await waiting(ww)
    assert (await decide(ww, one["pending_id"], "approve")).status_code == 200
    ticket = first.json()["ticket"]
    assert (await ask(ww, ticket=ticket, enrolment_id="device-1", **keyed(ww, key))).status_code == 201
    assert (await ww.call("DELETE", f"/enrolment-groups/{group_id}")).status_code == 409


async def test_no_ticket_is_in_the_database(ww: Instance) -> None:
    """Whoever steals a backup would collect what was approved for others."""
    (code,) = await codes(ww, await group(ww, approval="required"))
    ticket = (await enrol(ww, code)).json()["ticket"]
    async with ww.services.storage.engine.connect() as connection:
        rows = (await connection.execute(sa.select(schema.pending_enrolment))).all()
    assert rows
    assert ticket not in repr(rows)
