"""Authenticate with a private key (`private_key_jwt`, RFC 7523 section 2.2): each token request has a signed JWT."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from watchword.client.errors import SecretMissing
from watchword.client.proof import Proven
from watchword.client.sources import SecretSource

if TYPE_CHECKING:
    from watchword.jose import PrivateKey

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFE: Final = 60
"""Seconds for which an assertion is good."""


class PrivateKeyJwt:
    """For ``ClientCredentials(issuer, client_id, PrivateKeyJwt(from_file("app.pem")))``.

    Args:
        key: a function that reads the private key (`watchword.client.sources`): PEM, without a passphrase. It is
            called for each token request, so that a replaced key is used without a restart.
        kid: the id under which the public key is registered; None is its RFC 7638 thumbprint.
        new_id: makes each assertion's ``jti``.

    The audience is the configured issuer, never an address from its metadata: an attacker that can change the metadata
    would get assertions that other servers accept (draft-ietf-oauth-rfc7523bis section 4).
    """

    timed = True

    def __init__(
        self, key: SecretSource, *, kid: str | None = None, new_id: Callable[[], str] = lambda: secrets.token_hex(16)
    ) -> None:
        self._source, self._kid, self._new_id = key, kid, new_id

    def __repr__(self) -> str:
        return "PrivateKeyJwt(...)"

    def prove(self, client_id: str, issuer: str, now: float) -> Proven:
        """See `Proof.prove`. Raises `SecretMissing`."""
        from watchword.jose import Signer

        claims = {
            "iss": client_id, "sub": client_id, "aud": issuer, "jti": self._new_id(),
            "iat": int(now), "exp": int(now) + LIFE,
        }  # fmt: skip
        assertion = Signer(self._key(), typ="client-authentication+jwt").sign(json.dumps(claims).encode())
        return Proven(
            form=(
                ("client_id", client_id),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", assertion),
            )
        )

    def mac(self, message: bytes) -> bytes:
        """See `Proof.mac`. Raises `SecretMissing`."""
        return hmac.digest(self._source().reveal().encode(), message, "sha256")

    def _key(self) -> PrivateKey:
        from watchword.jose import JoseError, PrivateKey

        try:
            return PrivateKey.from_pem(self._source().reveal().encode(), self._kid)
        except JoseError as error:
            raise SecretMissing(f"the key is {error}; write one with: openssl genpkey -algorithm ed25519") from None
