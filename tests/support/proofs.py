"""DPoP proofs as tests need them, put together by hand: right ones, and every kind of wrong one."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.support.assertions import Sign, compose

from watchword.jose import PrivateKey
from watchword.jose.dpop import token_hash


def public_jwk(key: PrivateKey) -> dict[str, Any]:
    """Only what makes the key."""
    return {name: value for name, value in key.public.to_jwk().items() if name not in ("kid", "alg", "use")}


def header_of(key: PrivateKey, **changed: Any) -> dict[str, Any]:
    """A right one; None takes a member away."""
    right = {"typ": "dpop+jwt", "alg": key.algorithm.value, "jwk": public_jwk(key)}
    return {name: value for name, value in {**right, **changed}.items() if value is not None}


def proof_of(
    key: PrivateKey,
    url: str,
    now: float,
    *,
    method: str = "POST",
    token: str | None = None,
    header: Any = None,
    payload: bytes | None = None,
    sign: Sign | None = None,
    **changed: Any,
) -> str:
    """A right proof but for what is said; a claim of None is left out."""
    right: dict[str, Any] = {"jti": str(uuid.uuid4()), "htm": method, "htu": url, "iat": int(now)}
    if token is not None:
        right["ath"] = token_hash(token)
    claims = {name: value for name, value in {**right, **changed}.items() if value is not None}
    head = header_of(key) if header is None else header
    return compose(head, json.dumps(claims).encode() if payload is None else payload, sign or key.sign)
