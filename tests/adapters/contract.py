"""What every adapter answers: one table of requests, whatever the framework.

The issuer is a real HTTP server on loopback with keys of this test; the applications are the programs of
`docs/protect`, each in a process of its own.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from tests.support.proofs import proof_of

from watchword.jose import Algorithm, KeySet, PrivateKey, PublicKey, Signer

AUDIENCE = "https://payments.example"
SCOPE = "payments:charge"
CLIENT = "5b1b0f5c-6f0e-4a52-9b0b-1f2f3c4d5e6f"
Headers = list[tuple[str, str]]


@dataclass
class Issuer:
    """An issuer that publishes one key, and signs whatever the test wants."""

    url: str
    key: PrivateKey
    strange: PrivateKey = field(default_factory=lambda: PrivateKey.generate(Algorithm.ES256))

    def token(self, key: PrivateKey | None = None, typ: str = "at+jwt", **changes: Any) -> str:
        """A good token for `AUDIENCE` with `SCOPE`, but for the changes."""
        now = time.time()
        claims = {
            "iss": self.url, "aud": AUDIENCE, "sub": CLIENT, "client_id": CLIENT, "scope": SCOPE,
            "iat": int(now), "exp": int(now) + 300, "jti": str(uuid.uuid4()), **changes,
        }  # fmt: skip
        return Signer(key or self.key, typ=typ).sign(json.dumps(claims).encode())


@contextmanager
def issuer() -> Iterator[Issuer]:
    """An `Issuer` that listens."""
    key = PrivateKey.generate(Algorithm.ES256)
    jwks = KeySet([PublicKey.from_jwk(key.public.to_jwk())]).to_jwks()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            base = f"http://127.0.0.1:{self.server.server_address[1]}/t/acme"
            metadata = {"issuer": base, "jwks_uri": f"{base}/jwks"}
            body = json.dumps(metadata if ".well-known" in self.path else jwks).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Issuer(f"http://127.0.0.1:{server.server_address[1]}/t/acme", key)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Outcome:
    """What came back: an HTTP status (or the one that a gRPC code stands for), the challenge, the body."""

    status: int
    challenge: str
    text: str


class Service(Protocol):
    """A running application that is protected by an adapter."""

    def call(self, headers: Headers, query: str = "") -> Outcome:
        """One request to the protected thing."""
        ...


@dataclass(frozen=True)
class Case:
    """One request and its one right answer; `error` None means a bare challenge."""

    name: str
    headers: Callable[[str], Headers]
    status: int
    error: str | None
    changes: dict[str, Any] = field(default_factory=dict)
    foreign_key: bool = False


def bearer(token: str) -> Headers:
    """The usual header."""
    return [("authorization", f"Bearer {token}")]


REFUSED = [
    Case("no token", lambda _: [], 401, None),
    Case("another scheme", lambda _: [("authorization", "Basic eDp5")], 401, None),
    Case("token in another header", lambda token: [("x-access-token", token)], 401, None),
    Case("scheme without a token", lambda _: [("authorization", "Bearer")], 401, "invalid_token"),
    Case("JWT-045 malformed", lambda _: bearer("a.b.c"), 401, "invalid_token"),
    Case("not a b64token", lambda token: bearer(f"{token[:-4]}<b>"), 401, "invalid_token"),
    Case("signature cut", lambda token: bearer(token[:-4]), 401, "invalid_token"),
    Case("expired", bearer, 401, "invalid_token", {"exp": 1_000_000_000}),
    Case("wrong audience", bearer, 401, "invalid_token", {"aud": "https://seats.example"}),
    Case("wrong issuer", bearer, 401, "invalid_token", {"iss": "https://evil.example/t/acme"}),
    Case("foreign key", bearer, 401, "invalid_token", foreign_key=True),
    Case("JWT-017 an assertion", bearer, 401, "invalid_token", {"typ": "client-authentication+jwt"}),
    Case("bound to a key", bearer, 401, "invalid_token", {"cnf": {"jkt": "x"}}),
    Case("bound to a certificate", bearer, 401, "invalid_token", {"cnf": {"x5t#S256": "x"}}),
    Case("JWT-037 no scope", bearer, 403, "insufficient_scope", {"scope": ""}),
    Case("JWT-039 another scope", bearer, 403, "insufficient_scope", {"scope": f"{SCOPE}s"}),
    Case("two headers", lambda token: bearer(token) * 2, 400, "invalid_request"),
]


def refuses(service: Service, case: Case, made: Issuer, status: int | None = None) -> None:
    """Status and challenge are exact, and no text holds the token."""
    token = made.token(made.strange if case.foreign_key else None, **case.changes)
    got = service.call(case.headers(token))
    assert got.status == (status or case.status), got
    assert got.challenge.startswith("Bearer"), got
    assert ("error=" in got.challenge) is (case.error is not None), got
    if case.error is not None:
        assert f'error="{case.error}"' in got.challenge, got
    assert (f'scope="{SCOPE}"' in got.challenge) is (case.status == 403), got
    for part in token.split("."):
        assert part not in got.text + got.challenge
    assert CLIENT not in got.text


def accepts(service: Service, scheme: str, made: Issuer, **changes: Any) -> None:
    """The handler ran, and knows whose request it is."""
    got = service.call([("authorization", f"{scheme} {made.token(**changes)}")])
    assert (got.status, CLIENT in got.text, got.challenge) == (200, True, ""), got


HOLDER = PrivateKey.generate(Algorithm.ES256)


def takes_dpop(service: Service, made: Issuer, method: str, path: str) -> None:
    """The holder of the key comes in, once for each proof; the token alone, and a proof for another address, do not."""
    token = made.token(cnf={"jkt": HOLDER.public.thumbprint()})

    def proof(url: str = f"{AUDIENCE}{path}") -> str:
        return proof_of(HOLDER, url, time.time(), method=method, token=token)

    once = [("authorization", f"DPoP {token}"), ("dpop", proof())]
    got = service.call(once)
    assert (got.status, CLIENT in got.text, got.challenge) == (200, True, ""), got
    elsewhere = ("dpop", proof(f"{AUDIENCE}/elsewhere"))
    for headers in (once, once[:1], [once[0], elsewhere], [*once, elsewhere]):
        got = service.call(headers)
        assert (got.status, CLIENT in got.text) == (401, False), got
        assert got.challenge.startswith('DPoP error="invalid_dpop_proof"'), got
    got = service.call(bearer(token))
    assert (got.status, got.challenge.split()[0]) == (401, "Bearer"), got
    token = made.token(cnf={"jkt": HOLDER.public.thumbprint()}, scope="another")
    got = service.call([("authorization", f"DPoP {token}"), ("dpop", proof())])
    assert (got.status, CLIENT in got.text) == (403, False), got
    assert got.challenge.startswith('DPoP error="insufficient_scope"'), got


def is_unavailable(service: Service, made: Issuer) -> None:
    """503 and no challenge: nothing is wrong with the token, and its holder keeps it."""
    got = service.call(bearer(made.token()))
    assert (got.status, got.challenge) == (503, ""), got
    assert CLIENT not in got.text


def header(made: Issuer, **changes: Any) -> dict[str, str]:
    """A good token's header for clients that want a mapping."""
    return dict(bearer(made.token(**changes)))
