"""Rich authorization requests (RFC 9396) on client credentials: cases RES-012 to RES-017 and what follows from them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.instance import ISSUER, Instance, credentials_of, instance
from tests.support.tokens import claims_of

PAYMENT = {
    "name": "payment",
    "schema": {
        "type": "object",
        "properties": {
            "type": {"const": "payment"}, "amount": {"type": "number"}, "to": {"type": "string", "pattern": "^(a+)+$"},
            "note": {}, "limits": {"$ref": "#/$defs/limits"},
        },
        "required": ["amount"],
        "$defs": {"limits": {"type": "object", "additionalProperties": {"type": "integer"}}},
    },
}  # fmt: skip
REPORT = {"name": "report", "schema": {"type": "object", "properties": {"type": {}, "of": {"type": "string"}}}}


class World:
    """Two APIs with a type each, and an application that may ask for the first."""

    def __init__(self, ww: Instance, apis: list[dict[str, Any]], app: dict[str, Any]) -> None:
        self.ww, self.apis, self.app, self.pair = ww, apis, app, credentials_of(app)

    async def ask(self, details: Any, **form: str) -> httpx.Response:
        """POST /token."""
        text = details if isinstance(details, str) else json.dumps(details, ensure_ascii=False)
        return await self.ww.token(
            self.pair, authorization_details=text, **{"resource": "https://rs1.example/", **form}
        )


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """On SQLite."""
    async with instance(tmp_path) as ww:
        made = []
        for name, kind in (("rs1", PAYMENT), ("rs2", REPORT)):
            body = {"identifier": f"https://{name}.example/", "name": name, "scopes": [{"name": "a:read"}]}
            answer = await ww.call("POST", "/apis", {**body, "details_types": [kind]})
            assert answer.status_code == 201, answer.text
            made.append(answer.json())
        grants = [{"api_id": api["api_id"], "scopes": ["a:read"]} for api in made]
        answer = await ww.call("POST", "/applications", {"name": "c", "grants": grants, "details_types": ["payment"]})
        assert answer.status_code == 201, answer.text
        yield World(ww, made, answer.json())


def refused(answer: httpx.Response) -> None:
    """In one word, and without a token."""
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_authorization_details"), answer.text
    assert answer.headers["cache-control"] == "no-store"


async def test_what_was_asked_for_is_in_the_token(w: World) -> None:
    """RES-017: the API would judge something else than what was asked for and granted."""
    asked = [
        {"type": "payment", "note": {"z": "Ünïcödé 💶", "a": [1, {"b": None}]}, "amount": 12.5},
        {"type": "payment", "amount": 2**62, "to": "aaa"},
    ]
    answer = await w.ask(asked)
    claims = claims_of(answer)
    assert claims["authorization_details"] == asked == answer.json()["authorization_details"]
    assert list(claims["authorization_details"][0]) == ["type", "note", "amount"]
    assert (claims["scope"], answer.json()["scope"]) == ("", "")
    assert claims_of(await w.ask(asked, scope="a:read"))["scope"] == "a:read"
    assert "authorization_details" not in claims_of(await w.ww.token(w.pair, resource="https://rs1.example/"))
    metadata = (await w.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert metadata["authorization_details_types_supported"] == ["payment", "report"]


async def test_introspection_shows_an_api_its_own(w: World) -> None:
    """RES-017: an API would learn what the application may do elsewhere (RFC 9396 section 9.2)."""
    await w.ww.call("PATCH", f"/applications/{w.app['client_id']}", {"details_types": ["payment", "report"]})
    asked = [{"type": "payment", "amount": 1}, {"type": "report", "of": "x"}]
    form = {"grant_type": "client_credentials", "authorization_details": json.dumps(asked)}
    answer = await w.ww.http.post(
        f"{ISSUER}/token", data={**form, "resource": ["https://rs1.example/", "https://rs2.example/"]}, auth=w.pair
    )
    token = answer.json()["access_token"]
    for api, kind in zip(w.apis, ("payment", "report"), strict=True):
        reader = credentials_of(await w.ww.application(f"reader of {kind}", api, "a:read"))
        await w.ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [reader[0]]})
        shown = await w.ww.introspect(reader, token)
        assert shown["active"] is True
        assert [one["type"] for one in shown["authorization_details"]] == [kind]


NOT_DETAILS = [
    "x",
    "{",
    "{}",
    "[]",
    "1",
    "null",
    '"a"',
    "[1]",
    "[[]]",
    '[{"amount":1}]',
    '[{"type":1}]',
    '[{"type":null}]',
    "[{}]",
    '[{"type":"payment","amount":1}',
    '[{"type":"payment","amount":1}],"x":1',
    '[{"type":"payment","amount":1}]}',
    '[{"type":"payment","amount":1}] 1',
    "\ud800",
]


async def test_what_are_no_details(w: World) -> None:
    """RES-012: rubbish would be a 500, or ignored and a broader token be given."""
    for text in NOT_DETAILS:
        refused(
            await w.ww.http.post(
                f"{ISSUER}/token",
                content="grant_type=client_credentials&resource=https%3A%2F%2Frs1.example%2F&authorization_details="
                + "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass")),
                headers={"content-type": "application/x-www-form-urlencoded"},
                auth=w.pair,
            )
        )


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        pytest.param({"type": "unknown"}, "type", id="unknown type"),
        pytest.param({"foo": 1}, "foo", id="unknown field"),
        pytest.param({"amount": "12"}, "amount", id="wrong type of value"),
        pytest.param({"amount": None}, "amount", id="null"),
        pytest.param({"limits": {"a": "x"}}, "limits", id="wrong inside a $ref"),
        pytest.param({"to": "a" * 5000 + "b"}, "to", id="a pattern that others take for ever to judge"),
        pytest.param({"actions": ["pay"]}, "actions", id="a common field that the type does not have"),
    ],
)  # fmt: skip
async def test_what_breaks_the_type(w: World, changed: dict[str, Any], part: str) -> None:
    """RES-013: the API would have to judge what nobody foresaw."""
    answer = await w.ask([{"type": "payment", "amount": 1, **changed}])
    refused(answer)
    assert part in answer.json()["error_description"]
    refused(await w.ask([{"type": "payment"}]))


async def test_a_type_that_is_not_allowed(w: World) -> None:
    """RES-014: every application could ask for everything that there is; or at an API that does not know it."""
    refused(await w.ask([{"type": "report", "of": "x"}], resource="https://rs2.example/"))
    refused(await w.ask([{"type": "payment", "amount": 1}], resource="https://rs2.example/"))
    await w.ww.call("PATCH", f"/applications/{w.app['client_id']}", {"details_types": []})
    refused(await w.ask([{"type": "payment", "amount": 1}]))


async def test_huge_and_deep(w: World) -> None:
    """RES-015: a stranger's application would take the server down with one request."""
    refused(await w.ask([{"type": "payment", "amount": 1}] * 10_000))
    refused(await w.ask([{"type": "payment", "amount": 1}] * 51))
    refused(await w.ask('[{"type":"payment","amount":1,"note":' + "[" * 1000 + "]" * 1000 + "}]"))
    refused(await w.ask('[{"type":"payment","amount":1,"note":' + '{"a":' * 20 + "1" + "}" * 20 + "}]"))
    refused(await w.ask('[{"type":"payment","amount":1,"amount":2}]'))
    refused(await w.ask('[{"type":"payment","amount":1,"note":{"a":1,"a":2}}]'))


@pytest.mark.parametrize(
    "number", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity", str(2**70), str(-(2**70)), "01", "1e"]
)
async def test_numbers(w: World, number: str) -> None:
    """RES-016: two readers of one token would see two amounts."""
    refused(await w.ask('[{"type":"payment","amount":' + number + "}]"))


async def test_numbers_that_stay_what_they_are(w: World) -> None:
    """RES-016: an amount would lose its last digits on the way."""
    for number in ("-0", str(2**63 - 1), str(-(2**62)), "0.1", "9007199254740993"):
        answer = await w.ask('[{"type":"payment","amount":' + number + "}]")
        assert claims_of(answer)["authorization_details"][0]["amount"] == json.loads(number)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["type", "amount", "note", "x"]), inner, max_size=3)
        ),
        max_leaves=8,
    ).map(json.dumps)
)
async def test_anything(w: World, text: str) -> None:
    """What nobody thought of would be a 500."""
    answer = await w.ask(text)
    assert answer.status_code in (200, 400), answer.text


SCHEMAS: list[Any] = [
    {"name": "", "schema": PAYMENT["schema"]}, {"name": 'a"b', "schema": PAYMENT["schema"]}, {"name": "x", "schema": {}},
    {"name": "x", "schema": {"type": "array"}}, {"name": "x", "schema": {"type": "object", "properties": []}},
    {"name": "x", "schema": {"type": "object", "properties": {"a": {"$ref": "https://evil.example/schema"}}}},
    {"name": "x", "schema": {"type": "object", "properties": {"a": {"$ref": "other.json"}}}},
    {"name": "x", "schema": {"type": "object", "$id": "https://evil.example/", "properties": {"a": {}}}},
    {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "nonsense"}}}},
    {"name": "x", "schema": {"type": "object", "properties": {"a": {"pattern": "("}}}},
    {"name": "x", "schema": {"type": "object", "properties": {"a": {"enum": ["x" * 20_000]}}}},
]  # fmt: skip


async def test_a_schema_that_is_none(w: World) -> None:
    """SSR: a schema would make the server fetch an address, or be found broken by the first request."""
    for wrong in SCHEMAS:
        answer = await w.ww.call("PATCH", f"/apis/{w.apis[0]['api_id']}", {"details_types": [wrong]})
        assert answer.status_code == 400, wrong
    twice = {"details_types": [PAYMENT, PAYMENT]}
    assert (await w.ww.call("PATCH", f"/apis/{w.apis[0]['api_id']}", twice)).status_code == 400
    unknown = {"name": "d", "details_types": ["nothing"]}
    assert (await w.ww.call("POST", "/applications", unknown)).status_code == 400
