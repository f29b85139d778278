"""What stands in a token that was just issued."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx


def claims_in(token: str) -> dict[str, Any]:
    """Of a JWT; nothing is verified."""
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def claims_of(answer: httpx.Response) -> dict[str, Any]:
    """Of the JWT in an answer of the token endpoint, which has to be one."""
    assert answer.status_code == 200, answer.text
    return claims_in(answer.json()["access_token"])
