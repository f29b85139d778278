"""A tiny protected API in a process of its own: `python -m tests.docs.api PORT`; its issuer is in the environment."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import uvicorn

from watchword.resource import Verifier
from watchword.resource.asgi import RequireToken

AUDIENCE, SCOPE = "https://payments.example", "payments:charge"


async def charge(scope: Any, receive: Any, send: Any) -> None:
    """Says who paid."""
    body = json.dumps({"charged": True, "by": scope["watchword"].client_id}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    protected = RequireToken(charge, Verifier(os.environ["WATCHWORD_ISSUER"], audience=AUDIENCE), scope=SCOPE)
    uvicorn.run(protected, port=int(sys.argv[1]), log_level="error", lifespan="off", ws="none")
