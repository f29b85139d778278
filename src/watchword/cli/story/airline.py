"""The airline's services, one process each: `python -m watchword.cli.story.airline payments|reservations PORT`.

dashboard -> reservation service -> payments service. The reservation service obtains its token as
itself; payments verifies it. Configuration comes from the environment, as it would in production.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

import httpx
import uvicorn

from watchword.client import ClientCredentials, TokenError
from watchword.resource import Verifier
from watchword.resource.asgi import RequireToken

PAYMENTS = "https://payments.airline.example"
CHARGE = "payments:charge"


async def _answer(send: Any, status: int, body: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def payments() -> Any:
    """Charges a card for whoever holds `payments:charge`."""

    async def charge(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await _answer(send, 200, {"charged": True, "by": scope["watchword"].client_id})

    return RequireToken(charge, Verifier(os.environ["WATCHWORD_ISSUER"], audience=PAYMENTS), scope=CHARGE)


def reservations() -> Any:
    """Books a seat and has it charged, as itself. The secret is read from a file that rotation replaces."""
    client = httpx.AsyncClient(timeout=5, trust_env=False)
    known: dict[str, ClientCredentials] = {}

    def auth() -> ClientCredentials:
        with open(os.environ["WATCHWORD_CLIENT_SECRET_FILE"]) as file:
            secret = file.read().strip()
        if secret not in known:
            known.clear()
            known[secret] = ClientCredentials(
                os.environ["WATCHWORD_ISSUER"],
                os.environ["WATCHWORD_CLIENT_ID"],
                secret,
                resource=PAYMENTS,
                scope=CHARGE,
            )
        return known[secret]

    async def book(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return None
        try:
            answer = await client.post(os.environ["PAYMENTS_URL"], auth=auth())
        except TokenError as error:
            return await _answer(send, 502, {"booked": False, "why": str(error)})
        await _answer(send, 200 if answer.is_success else 502, {"booked": answer.is_success, "payment": answer.json()})

    return book


def main() -> None:
    """Serve one of them on loopback."""
    logging.basicConfig(level=logging.ERROR)
    service = {"payments": payments, "reservations": reservations}[sys.argv[1]]
    uvicorn.run(service(), host="127.0.0.1", port=int(sys.argv[2]), log_level="error", lifespan="off", ws="none")


if __name__ == "__main__":
    main()
