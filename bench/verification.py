"""Verifying tokens: ours beside the signature check alone, PyJWT, Authlib and joserfc, on the same tokens."""

from __future__ import annotations

import base64
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import httpx
import jwt

with warnings.catch_warnings():
    import authlib.deprecate  # noqa: F401  (sets a filter of its own, which the next line is to replace)

    warnings.simplefilter("ignore")  # Authlib says that joserfc follows its own; many still use this one
    from authlib.jose import JsonWebToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt

from watchword.jose import Algorithm, KeySet, PrivateKey, Signer
from watchword.resource import Fetch, Verifier

ISSUER, API, NOW = "https://id.example/t/acme", "https://payments.example", int(time.time())
NEW, REPEATED = 3_000, 100_000
Verify = Callable[[str], object]


class Tokens:
    """Their key, and what verifies them."""

    def __init__(self, count: int = NEW) -> None:
        self.key = PrivateKey.generate(Algorithm.ES256)
        self.public = self.key.public.to_jwk()
        sign = Signer(self.key).sign
        self.all = [sign(json.dumps(self._claims(n)).encode()) for n in range(count)]
        self.raw = [_raw(token) for token in self.all]
        self.published = KeySet([self.key.public]).to_jwks()

    @staticmethod
    def _claims(n: int) -> dict[str, Any]:
        return {
            "iss": ISSUER, "aud": API, "sub": "app", "client_id": "app", "exp": NOW + 3600, "iat": NOW,
            "jti": f"{n:032x}", "scope": "a:read",
        }  # fmt: skip

    def ours(self) -> Verify:
        """As a function of the token."""
        return self.verifier().verify

    def verifier(self) -> Verifier:
        """One that has its keys and has seen nothing."""

        def answered(request: httpx.Request) -> httpx.Response:
            document = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}
            return httpx.Response(200, json=self.published if request.url.path.endswith("jwks") else document)

        verifier = Verifier(ISSUER, audience=API, fetch=Fetch(transport=httpx.MockTransport(answered)))
        verifier.verify(Signer(self.key).sign(json.dumps(self._claims(NEW)).encode()))
        return verifier

    def pyjwt(self) -> Verify:
        """PyJWT with the same checks."""
        key = jwt.PyJWK(self.public).key
        return lambda token: jwt.decode(token, key, ["ES256"], audience=API, issuer=ISSUER)

    def authlib(self) -> Verify:
        """Authlib with the same checks."""
        reader = JsonWebToken(["ES256"])
        options = {"iss": {"value": ISSUER}, "aud": {"value": API}, "exp": {"essential": True}}
        return lambda token: reader.decode(token, self.public, claims_options=options).validate()

    def joserfc(self) -> Verify:
        """joserfc with the same checks."""
        key = joserfc_jwk.ECKey.import_key(self.public)
        rules = joserfc_jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": API}, exp={"essential": True}
        )
        return lambda token: rules.validate(joserfc_jwt.decode(token, key, algorithms=["ES256"]).claims)

    def signatures(self) -> float:
        """Microseconds a signature, and nothing else."""
        check, scheme = self.key.public._key.verify, ec.ECDSA(hashes.SHA256())
        began = time.process_time()
        for signature, signed in self.raw:
            check(signature, signed, scheme)
        return (time.process_time() - began) / len(self.raw) * 1e6


def _raw(token: str) -> tuple[bytes, bytes]:
    signed, _, signature = token.rpartition(".")
    both = base64.urlsafe_b64decode(signature + "==")
    return encode_dss_signature(int.from_bytes(both[:32], "big"), int.from_bytes(both[32:], "big")), signed.encode()


def each_once(verify: Verify, tokens: list[str]) -> float:
    """Microseconds a token."""
    began = time.process_time()
    for token in tokens:
        verify(token)
    return (time.process_time() - began) / len(tokens) * 1e6


def again(verify: Verify, token: str, times: int = REPEATED) -> float:
    """Microseconds for a token that it has seen."""
    verify(token)
    began = time.process_time()
    for _ in range(times):
        verify(token)
    return (time.process_time() - began) / times * 1e6


def measured(rounds: int) -> dict[str, list[float]]:
    """Microseconds by name, one figure a round."""
    tokens = Tokens()
    others = {"PyJWT": tokens.pyjwt(), "Authlib": tokens.authlib(), "joserfc": tokens.joserfc()}
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        figures = {"the signature alone": tokens.signatures(), "Verifier": each_once(tokens.ours(), tokens.all)}
        figures |= {name: each_once(verify, tokens.all) for name, verify in others.items()}
        figures["Verifier, again"] = again(tokens.ours(), tokens.all[0])
        figures |= {f"{name}, again": again(verify, tokens.all[0], 2_000) for name, verify in others.items()}
        for name, figure in figures.items():
            found.setdefault(name, []).append(figure)
    return found
