"""Client authentication at the token endpoint: the `Proof` protocol, and the client secret as one implementation.

A proof is made anew for each try: a signed assertion is dated (`timed`) and must not be sent twice.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import quote_plus

from watchword.client.secret import Secret
from watchword.client.sources import SecretSource

AuthMethod = Literal["client_secret_basic", "client_secret_post"]


@dataclass(frozen=True, slots=True, repr=False)
class Proven:
    """The headers and form fields that authenticate a token request. They hold secrets, so ``repr`` hides them."""

    headers: Mapping[str, str] = field(default_factory=dict)
    form: Sequence[tuple[str, str]] = ()


class Proof(Protocol):
    """One client authentication method (RFC 6749 section 2.3)."""

    @property
    def timed(self) -> bool:
        """Whether the proof is dated, so that the server refuses it when this machine's clock is wrong."""
        ...

    def prove(self, client_id: str, issuer: str, now: float) -> Proven:
        """A proof for one request only; ``now`` is Unix seconds by the issuer's clock."""
        ...

    def mac(self, message: bytes) -> bytes:
        """A MAC of 32 bytes under this credential: it names the file of a token on disk."""
        ...


class SharedSecret:
    """A client secret, sent in the Authorization header or in the form (RFC 6749 section 2.3.1).

    Args:
        secret: the secret, or a function that reads it (`watchword.client.sources`).
        method: ``client_secret_basic``, or ``client_secret_post`` for servers that read only the form.

    Raises:
        ValueError: another method.
    """

    timed = False

    def __init__(self, secret: str | Secret | SecretSource, method: AuthMethod = "client_secret_basic") -> None:
        if method not in ("client_secret_basic", "client_secret_post"):
            raise ValueError("auth_method is client_secret_basic or client_secret_post")
        self._source, self._method = _source(secret), method

    def __repr__(self) -> str:
        return f"SharedSecret({self._method})"

    def prove(self, client_id: str, issuer: str, now: float) -> Proven:
        """See `Proof.prove`. Raises `SecretMissing`."""
        secret = self._source().reveal()
        if self._method == "client_secret_post":
            return Proven(form=(("client_id", client_id), ("client_secret", secret)))
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
        return Proven({"authorization": "Basic " + base64.b64encode(pair.encode()).decode()})

    def mac(self, message: bytes) -> bytes:
        """See `Proof.mac`: a wrong secret gives another name and never finds the token of the right one."""
        return hmac.digest(self._source().reveal().encode(), message, "sha256")


def _source(secret: str | Secret | SecretSource) -> SecretSource:
    if callable(secret):
        return secret
    kept = Secret(secret)
    return lambda: kept
