"""A real HTTP server on loopback that plays issuer and API by DPoP, with the product's own judges of proofs."""

from __future__ import annotations

import json
import secrets
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from watchword.jose import Algorithm, JoseError, KeySet, PrivateKey, PublicKey, Signer
from watchword.jose.dpop import ProofTarget, read_proof
from watchword.resource import AccessRefused, Answer, Dpop, Issuer, ShownProof, Verifier
from watchword.resource.protected_resource import ProtectedResource

KEY = PrivateKey.generate(Algorithm.ES256)


class BoundApi:
    """`url` is the issuer and the API.

    `issuer_nonce`: which nonce proofs at the token endpoint must hold; "always another" refuses for ever.
    `forgetful`: the API takes none of the nonces that it gave.
    `clock`: by how many seconds the server's clock is ahead. `kind`: the token_type of its answers.
    """

    def __init__(self, base: str) -> None:
        self.url, self.audience = base, base
        self.issuer_nonce, self.clock, self.kind = "", 0.0, "DPoP"
        self.forgetful = False
        self.asked: list[dict[str, object]] = []
        self.called: list[int] = []
        self.revoked: set[str] = set()
        self.protect(Dpop())

    def protect(self, dpop: Dpop) -> None:
        """Judge calls like this from now on."""
        verifier = Verifier(
            Issuer(self.url, jwks_uri=f"{self.url}/jwks"),
            audience=self.audience,
            dpop=dpop,
            require_bound=True,
            now=lambda: time.time() + self.clock,
        )
        self.resource = ProtectedResource(verifier)

    def token(self, headers: dict[str, str]) -> Answer:
        """The token endpoint."""
        now = time.time() + self.clock
        told = {"Content-Type": "application/json"}
        try:
            proof = read_proof(headers.get("dpop", ""), ProofTarget("POST", f"{self.url}/token"))
        except JoseError:
            return Answer(400, told, {"error": "invalid_dpop_proof"})
        self.asked.append(proof.claims)
        if self.issuer_nonce == "always another":
            return Answer(400, {**told, "DPoP-Nonce": uuid.uuid4().hex}, {"error": "use_dpop_nonce"})
        if self.issuer_nonce and proof.nonce != self.issuer_nonce:
            return Answer(400, {**told, "DPoP-Nonce": self.issuer_nonce}, {"error": "use_dpop_nonce"})
        if not self.issuer_nonce and abs(proof.claims["iat"] - now) > 60:
            return Answer(400, told, {"error": "invalid_dpop_proof"})
        claims = {
            "iss": self.url, "aud": self.audience, "sub": "app", "client_id": "app", "iat": int(now),
            "exp": int(now) + 300, "jti": uuid.uuid4().hex, "scope": "a:read", "cnf": {"jkt": proof.jkt},
        }  # fmt: skip
        signed = Signer(KEY, typ="at+jwt").sign(json.dumps(claims).encode())
        return Answer(200, told, {"access_token": signed, "token_type": self.kind, "expires_in": 300})  # type: ignore[dict-item]

    def call(self, method: str, path: str, headers: dict[str, str]) -> Answer:
        """The API."""
        if self.forgetful:
            self.protect(Dpop(nonce_key=secrets.token_bytes(32)))
        values = [headers["authorization"]] if "authorization" in headers else []
        proofs = [headers["dpop"]] if "dpop" in headers else []
        answer = Answer(200, {"Content-Type": "application/json"}, {})
        try:
            claims = self.resource.claims(values, "a:read", None, lambda: ShownProof(proofs, method, path))
            if claims.raw["jti"] in self.revoked:
                answer = Answer(401, {"WWW-Authenticate": 'DPoP error="invalid_token"'}, {})
        except AccessRefused as refused:
            answer = self.resource.refuse(refused)
        self.called.append(answer.status)
        return answer


@contextmanager
def bound_api() -> Iterator[BoundApi]:
    """Listening until the block ends."""
    public = json.dumps(KeySet([PublicKey.from_jwk(KEY.public.to_jwk())]).to_jwks()).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path.startswith("/.well-known/"):
                body = json.dumps({"issuer": api.url, "token_endpoint": f"{api.url}/token"}).encode()
                self._reply(200, {"Content-Type": "application/json"}, body)
            elif path == "/jwks":
                self._reply(200, {"Content-Type": "application/json"}, public)
            else:
                self._answer(api.call("GET", self.path, self._named()))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            named = self._named()
            self._answer(api.token(named) if self.path == "/token" else api.call("POST", self.path, named))

        def _named(self) -> dict[str, str]:
            return {name.lower(): value for name, value in self.headers.items()}

        def _answer(self, answer: Answer) -> None:
            self._reply(answer.status, answer.headers, answer.body)

        def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            self.send_header("Date", self.date_time_string(time.time() + api.clock))
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api = BoundApi(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
