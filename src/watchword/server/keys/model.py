"""The record of a tenant's signing key, with its state."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

SigningAlgorithm = Literal["ES256", "RS256", "PS256", "EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]
State = Literal["next", "active", "retiring", "gone"]


class SigningKey(Struct, frozen=True, kw_only=True):
    """`next -> active -> retiring -> gone`. `sealed` is the private key under the master key."""

    tenant_id: str
    kid: str
    algorithm: SigningAlgorithm
    state: State
    public_jwk: dict[str, Any]
    sealed: bytes
    published_at: int
    activated_at: int | None = None
    retired_at: int | None = None
    gone_at: int | None = None
    version: int = 1
