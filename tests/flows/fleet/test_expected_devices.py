"""Devices that are known before they come: by serial number, by key, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.enrolling import applications, ask, codes, enrol, group, keyed
from tests.support.instance import Instance, instance, node

from watchword.jose import Algorithm, PrivateKey
from watchword.server.registry.fleet.enrolment import MAX_OPEN_CODES, EnrolmentCode
from watchword.server.registry.model import Tenant


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as running:
        yield running


def new_key() -> PrivateKey:
    """A device's."""
    return PrivateKey.generate(Algorithm.ES256)


async def expect(ww: Instance, group_id: str, *rows: dict[str, Any]) -> list[str]:
    """What became of each."""
    answer = await ww.call("POST", f"/enrolment-groups/{group_id}/expected", {"rows": rows})
    assert answer.status_code == 200, answer.text
    return [row["outcome"] for row in answer.json()["rows"]]


async def expected(ww: Instance, group_id: str) -> list[str]:
    """Who may still come."""
    items = (await ww.call("GET", f"/enrolment-groups/{group_id}/expected")).json()["items"]
    return [item["entry"] for item in items]


async def test_a_device_whose_key_is_expected_needs_no_code(ww: Instance) -> None:
    """Every device with a secure element would need a secret beside it; or a key that nobody listed would do."""
    key, other = new_key(), new_key()
    group_id = await group(ww, ways=["key"], name_pattern="s-{serial}")
    assert await expect(ww, group_id, {"serial": "SN-1", "jwk": key.public.to_jwk()}) == ["added"]
    assert await expected(ww, group_id) == ["serial:SN-1"]
    stranger = await ask(ww, enrolment_id="device-1", **keyed(ww, other))
    assert (stranger.status_code, stranger.json()["error"]) == (400, "invalid_grant")
    forged = {**keyed(ww, other), "jwks": {"keys": [key.public.to_jwk()]}}
    unproved = await ask(ww, enrolment_id="device-1", **forged)
    unknown = await ask(ww, enrolment_id="device-1", **{**forged, "jwks": {"keys": [new_key().public.to_jwk()]}})
    assert [unproved.json()[name] for name in ("error", "error_description")] == [
        unknown.json()[name] for name in ("error", "error_description")
    ]
    made = await ask(ww, enrolment_id="device-1", **keyed(ww, key))
    assert made.status_code == 201, made.text
    assert made.json()["client_name"] == "s-SN-1"
    assert made.json()["token_endpoint_auth_method"] == "private_key_jwt"
    assert await expected(ww, group_id) == []
    ww.clock.now += 100_000
    again = await ask(ww, enrolment_id="other-id", serial="SN-1", **keyed(ww, key, iss="other-id"))
    assert (again.status_code, again.json()["client_id"]) == (200, made.json()["client_id"])
    events = [one["event"] for one in (await ww.call("GET", "/audit")).json()["items"]]
    assert {"DevicesExpected", "DeviceEnrolled", "ClientKeyAdded"} <= set(events)


async def test_a_thumbprint_is_as_good_as_the_key(ww: Instance) -> None:
    """A factory that keeps thumbprints only could not list its devices."""
    key = new_key()
    group_id = await group(ww, ways=["key"])
    assert await expect(ww, group_id, {"thumbprint": key.public.thumbprint()}) == ["added"]
    made = await ask(ww, enrolment_id="device-1", **keyed(ww, key))
    assert made.status_code == 201, made.text


async def test_a_device_that_was_deleted_is_not_let_in_by_what_let_it_in(ww: Instance) -> None:
    """A stolen device would be back the second after it was deleted; or could never be taken in again."""
    key = new_key()
    group_id = await group(ww, ways=["key"])
    row = {"serial": "SN-1", "jwk": key.public.to_jwk()}
    await expect(ww, group_id, row)
    made = (await ask(ww, enrolment_id="device-1", **keyed(ww, key))).json()
    assert await expect(ww, group_id, row) == ["enrolled"]
    assert await expected(ww, group_id) == []
    assert (await ww.call("DELETE", f"/applications/{made['client_id']}")).status_code == 204
    gone = await ask(ww, enrolment_id="device-1", **keyed(ww, key))
    assert (gone.status_code, gone.json()["error"]) == (400, "invalid_grant")
    assert await expect(ww, group_id, row) == ["added"]
    anew = await ask(ww, enrolment_id="device-1", **keyed(ww, key))
    assert anew.status_code == 201
    assert anew.json()["client_id"] != made["client_id"]


async def test_fifty_requests_with_one_key_are_one_device(ww: Instance) -> None:
    """A device on a bad line would be several, on one node or on two."""
    key = new_key()
    async with node(ww.services.settings, ww.clock, ww.admin) as other:
        group_id = await group(ww, ways=["key"], max_devices=3)
        keys = [key, *(new_key() for _ in range(9))]
        await expect(ww, group_id, *({"jwk": one.public.to_jwk()} for one in keys))
        nodes = ww, other
        answers = await asyncio.gather(
            *(ask(nodes[n % 2], enrolment_id="device-1", **keyed(ww, key)) for n in range(50))
        )
        assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 49}
        assert len({answer.json()["client_id"] for answer in answers}) == 1
        answers = await asyncio.gather(
            *(ask(nodes[n % 2], enrolment_id="device-1", **keyed(ww, one)) for n, one in enumerate(keys[1:]))
        )
        assert Counter(answer.status_code for answer in answers) == {201: 2, 409: 7}
        assert len(await expected(ww, group_id)) == 7  # who was refused is still expected


async def test_a_group_may_insist_on_its_list(ww: Instance) -> None:
    """A code that leaked would let in whatever calls itself a device."""
    group_id = await group(ww, only_expected=True)
    (code,) = await codes(ww, group_id, uses=10)
    key = new_key()
    await expect(ww, group_id, {"serial": "SN-1"}, {"serial": "SN-2", "jwk": key.public.to_jwk()})
    refused = [
        await enrol(ww, code, "d0"), await enrol(ww, code, "d0", serial="SN-9"), await enrol(ww, code, "d0", serial="SN-2"),
        await enrol(ww, code, "device-1", serial="SN-2", **keyed(ww, new_key())),
        await enrol(ww, code, "device-1", serial="SN-1", **keyed(ww, key)),
    ]  # fmt: skip
    assert {(one.status_code, one.json()["error_description"]) for one in refused} == {
        (409, "the group does not expect a device with this serial number and key: ask its administrator")
    }
    first = await enrol(ww, code, "d1", serial="SN-1")
    assert first.status_code == 201, first.text
    assert (await enrol(ww, code, "d2", serial="SN-1")).status_code == 409
    assert (await enrol(ww, code, "d1", serial="SN-1")).status_code == 200
    by_key = await enrol(ww, code, "device-1", **keyed(ww, key))
    assert by_key.status_code == 201, by_key.text
    assert {one["serial"] for one in await applications(ww)} == {"SN-1", "SN-2"}
    assert await expect(ww, group_id, {"serial": "SN-2", "jwk": key.public.to_jwk()}) == ["enrolled"]


async def test_a_serial_number_on_another_list_is_not_taken(ww: Instance) -> None:
    """Whoever has a code of a harmless group would pass for a device of another one."""
    first, other = await group(ww), await group(ww, name="others", grants=[])
    await expect(ww, other, {"serial": "SN-1"})
    (code,) = await codes(ww, first)
    assert (await enrol(ww, code, serial="SN-1")).status_code == 409
    assert (await enrol(ww, code, serial="SN-2")).status_code == 201
    assert await expect(ww, first, {"serial": "SN-1"}) == ["refused"]


async def test_lists_that_meet_list_each_device_once(ww: Instance) -> None:
    """Two administrators with one file would both fail, or a device be expected in two groups."""
    one, two = await group(ww), await group(ww, name="others", grants=[])
    rows = [{"serial": f"SN-{n:04}"} for n in range(300)]
    answers = await asyncio.gather(
        expect(ww, one, *rows), expect(ww, one, *reversed(rows)), expect(ww, two, *rows), expect(ww, two, *rows[::2])
    )
    added = Counter(outcome for answer in answers for outcome in answer)["added"]
    assert added == 300
    listed = await ww.call("GET", f"/enrolment-groups/{one}/expected", params={"limit": "500"})
    others = await ww.call("GET", f"/enrolment-groups/{two}/expected", params={"limit": "500"})
    serials = [item["serial"] for answer in (listed, others) for item in answer.json()["items"]]
    assert sorted(serials) == [row["serial"] for row in rows]  # whoever was first with one has it


async def test_what_is_wrong_with_a_row_stops_no_other(ww: Instance) -> None:
    """One typo in a hundred thousand lines would keep a whole shipment out."""
    key = new_key()
    group_id = await group(ww)
    got = await expect(
        ww, group_id, {"serial": "A"}, {"serial": "A"}, {}, {"serial": "B\n"}, {"thumbprint": "x"}, {"jwk": {"kty": "EC"}},
        {"jwk": key.public.to_jwk(), "thumbprint": key.public.thumbprint()}, {"serial": "C", "jwk": key.public.to_jwk()},
        {"thumbprint": key.public.thumbprint()},
    )  # fmt: skip
    assert got == ["added", *["refused"] * 6, "added", "refused"]
    assert await expect(ww, group_id, {"serial": "A"}) == ["exists"]
    assert await expect(ww, group_id, {"serial": "C"}) == ["refused"]  # it would lose its key
    path = f"/enrolment-groups/{group_id}/expected"
    assert (await ww.call("POST", path, {"rows": []})).status_code == 400
    assert (await ww.call("POST", path, {"rows": [{"serial": str(n)} for n in range(1_001)]})).status_code == 400
    assert (await ww.call("POST", "/enrolment-groups/nobody/expected", {"rows": [{"serial": "Z"}]})).status_code == 404


async def test_who_is_taken_off_the_list_does_not_come(ww: Instance) -> None:
    """A shipment that was lost would go on being let in."""
    key = new_key()
    group_id = await group(ww, ways=["key", "code"], only_expected=True)
    await expect(ww, group_id, {"jwk": key.public.to_jwk()}, {"serial": "a/b"}, {"serial": "c"})
    path = f"/enrolment-groups/{group_id}/expected"
    assert (await ww.call("DELETE", f"{path}/serial%3Aa%2Fb")).status_code == 204
    assert (await ww.call("DELETE", f"{path}/serial%3Aa%2Fb")).status_code == 404
    assert (await ww.call("DELETE", path)).status_code == 204
    assert await expected(ww, group_id) == []
    assert (await ask(ww, enrolment_id="device-1", **keyed(ww, key))).json()["error"] == "invalid_grant"
    events = [one["event"] for one in (await ww.call("GET", "/audit")).json()["items"]]
    assert events.count("ExpectedDevicesRemoved") == 2


async def test_keys_open_only_where_a_group_says_so(ww: Instance) -> None:
    """A list made for codes would let in without one; or a closed group be open by its list."""
    key = new_key()
    group_id = await group(ww)
    await expect(ww, group_id, {"jwk": key.public.to_jwk()})
    refused = await ask(ww, enrolment_id="device-1", **keyed(ww, key))
    assert (refused.status_code, refused.json()["error"]) == (409, "enrolment_refused")
    body = {"ways": ["key"], "expires_at": int(ww.clock.now) + 10}
    assert (await ww.call("PATCH", f"/enrolment-groups/{group_id}", body)).status_code == 200
    ww.clock.now += 10
    assert (await ask(ww, enrolment_id="device-1", **keyed(ww, key))).status_code == 409
    assert (await ww.call("DELETE", f"/enrolment-groups/{group_id}")).status_code == 204
    assert (await ask(ww, enrolment_id="device-1", **keyed(ww, key))).json()["error"] == "invalid_grant"


async def test_open_codes_of_a_group_are_bounded(ww: Instance) -> None:
    """A script that makes codes in a loop would fill the disk, and each of them open the door."""
    group_id = await group(ww)
    path = f"/enrolment-groups/{group_id}/codes"
    (tenant_id,) = {one.tenant_id for one in await _tenants(ww)}
    made = {"tenant_id": tenant_id, "group_id": group_id, "uses_left": 1, "expires_at": int(ww.clock.now) + 60}
    async with ww.services.storage.store.transaction(60) as tx:
        await tx.codes.add([EnrolmentCode(digest=str(n), **made) for n in range(MAX_OPEN_CODES - 2)])
    answers = await asyncio.gather(*(ww.call("POST", path, {}) for _ in range(6)))
    assert Counter(answer.status_code for answer in answers) == {201: 2, 409: 4}
    assert (await ww.call("DELETE", path)).status_code == 204
    assert (await ww.call("POST", path, {})).status_code == 201


async def _tenants(ww: Instance) -> list[Tenant]:
    async with ww.services.storage.store.snapshot() as seen:
        return await seen.tenants.page("", None, 10)
