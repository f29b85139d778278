"""What an event says about a changed record."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec.structs import replace

from watchword.server.audit.changes import MOST, audited_change
from watchword.server.audit.events import ApplicationUpdated
from watchword.server.registry.model import Application, ClientKey, Grant, Registration, Secret

BEFORE = Application(tenant_id="t", client_id="c", name="payments", created_at=1)
CANARY = "c4nary" * 8


def told(after: Application) -> dict[str, Any]:
    """The event of a change to BEFORE, as it is stored."""
    event = ApplicationUpdated(at=1.0, client_id="c", **audited_change(BEFORE, after))
    return dict(json.loads(msgspec.json.encode(event)))


def test_it_names_both_values() -> None:
    """After an incident nobody would know what a changed grant had been."""
    grant = Grant(api_id="a", scopes=("read",))
    event = told(replace(BEFORE, name="Payments", grants=(grant,), version=2))
    assert event["fields"] == ["name", "grants"]
    assert event["before"] == {"name": "payments", "grants": []}
    assert event["after"] == {"name": "Payments", "grants": [{"api_id": "a", "scopes": ["read"]}]}


def test_no_secret_is_told() -> None:
    """Whoever reads the audit log would get what authenticates applications."""
    secret = Secret(id="s", digest=f"hmac:{CANARY}", created_at=1, sealed=CANARY.encode())
    key = ClientKey(kid="k", jwk={"kty": "EC", "crv": "P-256", "kid": "k", "x": "x", "d": CANARY}, created_at=1)
    registration = Registration(digest=CANARY, token_id="i", granted=(), statement=CANARY)
    text = json.dumps(told(replace(BEFORE, secrets=(secret,), keys=(key,), registration=registration)))
    assert CANARY not in text
    assert json.loads(text)["after"]["secrets"] == [
        {"id": "s", "created_at": 1, "expires_at": None, "repeat_until": None}
    ]
    assert json.loads(text)["after"]["keys"][0]["jwk"] == {"kid": "k", "kty": "EC", "crv": "P-256"}


def test_it_is_bounded() -> None:
    """One change of a large record, repeated, would fill the audit log."""
    grants = tuple(Grant(api_id=f"api {number}", scopes=("x" * 200,) * 50) for number in range(50))
    event = told(replace(BEFORE, description="d" * 100_000, grants=grants, labels={"a": "b" * 900}))
    assert len(json.dumps(event)) < MOST + 2_000
    assert event["after"]["grants"].keys() == {"bytes", "sha256"}
    assert event["after"]["labels"] == {"a": "b" * 900}
