"""Client assertions as tests need them: right ones, and every kind of wrong one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
from tests.support.instance import ISSUER, Instance

from watchword.jose import Algorithm, PrivateKey
from watchword.jose.encoding import b64url

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CC = "client_credentials"
Sign = Callable[[bytes], bytes]


def jwks(*keys: PrivateKey) -> dict[str, Any]:
    """The public halves."""
    return {"keys": [key.public.to_jwk() for key in keys]}


def compose(header: Any, payload: bytes, sign: Sign) -> str:
    """A compact JWS of anything at all."""
    signing_input = b64url(json.dumps(header).encode()) + b"." + b64url(payload)
    return (signing_input + b"." + b64url(sign(signing_input))).decode()


class Caller:
    """An application of `private_key_jwt`, its key, and the requests that it sends."""

    def __init__(self, ww: Instance, client_id: str, key: PrivateKey) -> None:
        self.ww, self.client_id, self.key = ww, client_id, key

    @classmethod
    async def register(cls, ww: Instance, api: dict[str, Any], name: str, *keys: PrivateKey, **more: Any) -> Caller:
        """An application with keys by value, unless `jwks_uri` is given."""
        keys = keys or (PrivateKey.generate(Algorithm.ES256),)
        where = {} if "jwks_uri" in more else {"jwks": jwks(*keys)}
        made = await ww.application(name, api, "a:read", auth_method="private_key_jwt", **where, **more)
        assert made["client_secret"] is None
        return cls(ww, made["client_id"], keys[0])

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Right ones; None takes a claim away."""
        now = int(self.ww.clock.now)
        right = {
            "iss": self.client_id, "sub": self.client_id, "aud": ISSUER, "iat": now, "exp": now + 60,
            "jti": str(uuid.uuid4()),
        }  # fmt: skip
        return {name: value for name, value in {**right, **changed}.items() if value is not None}

    def header(self, **changed: Any) -> dict[str, Any]:
        """A right one; None takes a member away."""
        right = {"alg": self.key.algorithm.value, "kid": self.key.kid}
        return {name: value for name, value in {**right, **changed}.items() if value is not None}

    def assertion(
        self, header: Any = None, payload: bytes | None = None, sign: Sign | None = None, **changed: Any
    ) -> str:
        """A right assertion but for what is said."""
        body = payload if payload is not None else json.dumps(self.claims(**changed)).encode()
        return compose(self.header() if header is None else header, body, sign or self.key.sign)

    async def send(self, assertion: str, endpoint: str = "token", ww: Instance | None = None, **form: str) -> Any:
        """POST with the assertion, at this node or another."""
        fields = {"client_assertion": assertion, "client_assertion_type": TYPE, **form}
        if endpoint == "token":
            fields = {"grant_type": CC, **fields}
        answer = await (ww or self.ww).http.post(f"{ISSUER}/{endpoint}", data=fields)
        assert isinstance(answer, httpx.Response)
        return answer

    async def token(self, **changed: Any) -> Any:
        """A request with a fresh assertion."""
        return await self.send(self.assertion(**changed))


def refused(answer: httpx.Response, error: str = "invalid_client", status: int = 401) -> None:
    """N1 and N2: one and the same refusal, whatever was wrong."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["error"] == error
    assert body.keys() <= {"error", "error_description", "error_uri"}
    if error == "invalid_client":
        assert body["error_description"] == "client authentication failed"
    assert "no-store" in answer.headers["cache-control"]
    assert "set-cookie" not in answer.headers


async def issued(ww: Instance) -> int:
    """How many tokens the audit log knows of, but for the administrator's."""
    events = (await ww.call("GET", "/audit?limit=500")).json()["items"]
    return sum(event["event"] == "TokenIssued" and event["actor"] != ww.admin[0] for event in events)
