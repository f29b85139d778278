"""Callers that prove themselves without a secret, or bind their tokens: the same keys at Watchword and at oidc-provider."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.certificates import authority, cn, issue

from watchword.jose import Algorithm, PrivateKey, Signer
from watchword.jose.dpop import ProofSigner, ProofTarget

from .load import FORM, Target, rate
from .servers import GRANT, Ours, basic

KEY, PROOF = PrivateKey.generate(Algorithm.ES256), PrivateKey.generate(Algorithm.ES256)
COMPANY = authority("company CA", time.time())
CERTIFICATE = issue(cn("billing"), time.time(), COMPANY)
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PLAIN = {"grant_types": ["client_credentials"], "response_types": [], "redirect_uris": []}
RIVAL_CLIENTS = [
    {
        **PLAIN, "client_id": "signed", "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256", "jwks": {"keys": [KEY.public.to_jwk()]},
    },
    {
        **PLAIN, "client_id": "certified", "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": "CN=billing", "tls_client_certificate_bound_access_tokens": True,
    },
]  # fmt: skip


@dataclass(frozen=True)
class Known:
    """One server's names for them."""

    issuer: str
    secret: tuple[str, str]
    signed: str
    certified: str

    def assertions(self, name: str, folder: Path, seconds: int) -> Callable[[], float]:
        """private_key_jwt; each assertion once."""
        signer, url = Signer(KEY, typ="JWT"), f"{self.issuer}/token"
        form = f"{GRANT}&client_id={self.signed}&client_assertion_type={quote(ASSERTION, safe='')}&client_assertion="

        def fresh(count: int) -> list[str]:
            now = int(time.time())
            same: dict[str, Any] = {"iss": self.signed, "sub": self.signed, "aud": self.issuer, "iat": now}
            return [
                form + signer.sign(json.dumps({**same, "exp": now + 300, "jti": secrets.token_hex(16)}).encode())
                for _ in range(count)
            ]

        return _once(lambda file: Target(name, url, headers=FORM, bodies=file), fresh, folder, seconds)

    def dpop(self, name: str, folder: Path, seconds: int) -> Callable[[], float]:
        """A secret and a DPoP proof; each proof once."""
        signer, url = ProofSigner(PROOF), f"{self.issuer}/token"
        target = ProofTarget("POST", url)

        def fresh(count: int) -> list[str]:
            return [signer.sign(target, now=time.time(), jti=secrets.token_hex(16)) for _ in range(count)]

        headers = basic(*self.secret)
        return _once(lambda file: Target(name, url, GRANT, headers, file, "DPoP"), fresh, folder, seconds)

    def certificate(self, name: str, folder: Path, seconds: int) -> Callable[[], float]:
        """mTLS as a proxy passes it on (RFC 9440): the handshake is the proxy's."""
        headers = {**FORM, "Client-Cert": CERTIFICATE.rfc9440}
        target = Target(name, f"{self.issuer}/token", f"{GRANT}&client_id={self.certified}", headers)
        return lambda: rate(target, folder, seconds)


def _once(
    target: Callable[[Path], Target], fresh: Callable[[int], list[str]], folder: Path, seconds: int
) -> Callable[[], float]:
    """Parts are made before each run: they are good for a minute only."""

    def run() -> float:
        file = folder / "parts"
        file.write_text("\n".join(fresh(12_000 * seconds)) + "\n")
        return rate(target(file), folder, seconds)

    return run


def registered(server: Ours) -> Known:
    """By the command line."""
    jwk, anchor = server.folder / "caller.jwk", server.folder / "company.pem"
    jwk.write_text(json.dumps(KEY.public.to_jwk()))
    anchor.write_text(COMPANY.pem)
    server.command("tenant", "anchors", "add", str(anchor))
    grant = ("--grant", "https://es256.example/=a:read")
    signed = server.command("app", "create", "signed", "--auth", "private_key_jwt", "--jwks", str(jwk), *grant)
    certified = server.command("app", "create", "certified", "--auth", "tls_client_auth", "--dn", "CN=billing", *grant)
    return Known(server.base, server.callers["ES256"], signed["client_id"], certified["client_id"])
