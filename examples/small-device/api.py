"""An API for small devices: takes measurements over CoAP from those that show a good CWT.

    python api.py ISSUER PORT

A request is CBOR: {0: the token, 1: the measurement}. CoAP has no Authorization header; this form is the example's own.
"""

import asyncio
import sys

import cbor2
from aiocoap import BAD_REQUEST, CHANGED, FORBIDDEN, SERVICE_UNAVAILABLE, UNAUTHORIZED, Context, Message
from aiocoap.resource import Resource, Site

from watchword.jose.cwt import cwt_text
from watchword.resource import Forbidden, Issuer, TokenInvalid, Unavailable, Verifier

AUDIENCE, SCOPE = "urn:meters", "m:w"


class Measurements(Resource):
    """POST a measurement."""

    def __init__(self, verifier: Verifier) -> None:
        super().__init__()
        self.verifier = verifier

    async def render_post(self, request: Message) -> Message:
        """2.04 for what was taken."""
        try:
            body = cbor2.loads(request.payload, max_depth=3)
            token, value = cwt_text(body[0]), float(body[1])
        except (cbor2.CBORDecodeError, LookupError, TypeError, ValueError):
            return Message(code=BAD_REQUEST)
        try:
            claims = await self.verifier.averify(token, SCOPE)
        except TokenInvalid:
            # Where to get a token: AS Request Creation Hints (RFC 9200 section 5.3).
            hints = {1: self.verifier.issuer + "/token", 5: AUDIENCE, 9: SCOPE}
            return Message(code=UNAUTHORIZED, content_format=19, payload=cbor2.dumps(hints))
        except Forbidden:
            return Message(code=FORBIDDEN)
        except Unavailable:
            return Message(code=SERVICE_UNAVAILABLE, max_age=5)
        print(f"{claims.client_id} measured {value}", flush=True)
        return Message(code=CHANGED)


async def main(issuer: str, port: int) -> None:
    """Serve until stopped."""
    site = Site()
    site.add_resource(["measurements"], Measurements(Verifier(Issuer(issuer, cwt=True), audience=AUDIENCE)))
    await Context.create_server_context(site, bind=("127.0.0.1", port), transports=["udp6"])
    print(f"coap://127.0.0.1:{port}/measurements", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
