"""The floor: a bare uvloop and httptools protocol that does the same cryptography and nothing else."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import sys
import time

import httptools
import uvloop

from watchword.jose import Algorithm, PrivateKey, Signer
from watchword.server.protocol.access import Access
from watchword.server.protocol.claims import access_token_claims, encode, token_id
from watchword.server.registry.model import TokenSettings

SIGNER = Signer(PrivateKey.generate(Algorithm(sys.argv[2])))
ACCESS = Access("3f0c1f6e-0000-4000-8000-000000000000", ("https://rs1.example/",), ("a:read",), TokenSettings())
PEPPER = secrets.token_bytes(32)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\ncontent-length: %d\r\n\r\n"


class Floor(asyncio.Protocol):
    """Parse, HMAC, claims, sign, answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """One connection."""
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Bytes."""
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """One request."""
        hmac.compare_digest(hmac.digest(PEPPER, b"wwsec_" + b"x" * 49, "sha256"), PEPPER)
        now = time.time()
        claims = access_token_claims(
            ACCESS, "http://127.0.0.1:1/t/default", int(now), token_id(now, secrets.token_hex(10))
        )
        token = SIGNER.sign(encode(claims))
        body = b'{"access_token":"%s","token_type":"Bearer","expires_in":3600,"scope":"a:read"}' % token.encode()
        self.transport.write(HEAD % len(body) + body)  # type: ignore[attr-defined]


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


uvloop.run(main())
