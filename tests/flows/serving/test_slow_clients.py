"""Clients that are slow: they hold nothing that others need."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from tests.support.instance import ISSUER, Instance, credentials_of, instance

SLOW = 500
HEAD = (
    b"POST /t/default/token HTTP/1.1\r\nHost: 127.0.0.1:8480\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
)


async def slow(ww: Instance, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A token request whose body stops in the middle; the server waits for it: it has said so."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ww.door.port, ssl=context)
    writer.write(HEAD)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(b"grant_type=client")
    return reader, writer


async def test_dbf_017_five_hundred_slow_clients(tmp_path: Path, postgres_dsn: str) -> None:
    """DBF-017: each slow body would hold a database connection, and five hundred of them all there are."""
    async with instance(tmp_path, postgres_dsn, body_timeout=600.0) as ww:
        context = ssl.create_default_context(cafile=str(ww.door.ca))
        waiting = [await slow(ww, context) for _ in range(SLOW)]
        body = {"identifier": "urn:rs1", "name": "rs1", "scopes": [{"name": "a"}], "introspectors": [ww.admin[0]]}
        api = (await ww.call("POST", "/apis", body)).json()
        caller = credentials_of(await ww.application("caller", api, "a"))
        for n in range(20):
            token = await ww.token(caller)
            assert token.status_code == 200, token.text
            told = await ww.introspect(ww.admin, token.json()["access_token"])
            assert told["active"] is True
            made = await ww.call("POST", "/apis", {"identifier": f"urn:api:{n}", "name": "an API", "scopes": []})
            assert made.status_code == 201, made.text
        assert (await ww.http.get(f"{ISSUER}/jwks")).status_code == 200
        assert not any(reader.at_eof() for reader, _ in waiting)
        for _, writer in waiting:
            writer.transport.abort()
