"""How an application proves itself at the token endpoint: one small object, asked anew for every try.

A shared secret is one kind. A signed assertion is another: it is dated (`timed`) and must differ from
try to try, which is why the flow never sends a request twice but builds it again.
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
    """What a proof adds to a token request: headers and form fields. Never shown."""

    headers: Mapping[str, str] = field(default_factory=dict)
    form: Sequence[tuple[str, str]] = ()


class Proof(Protocol):
    """One way to prove who asks (RFC 6749 section 2.3)."""

    @property
    def timed(self) -> bool:
        """Whether the proof says when it was made, so that a wrong clock can spoil it."""
        ...

    def prove(self, client_id: str, issuer: str, now: float) -> Proven:
        """A proof for one request, never used again; ``now`` is Unix seconds by the issuer's clock."""
        ...

    def mac(self, message: bytes) -> bytes:
        """32 bytes that only the holder of this credential can make: the name of a token kept on disk."""
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
        """See `Proof.mac`: another secret, another name, so a wrong secret never finds a right one's token."""
        return hmac.digest(self._source().reveal().encode(), message, "sha256")


def _source(secret: str | Secret | SecretSource) -> SecretSource:
    if callable(secret):
        return secret
    kept = Secret(secret)
    return lambda: kept
