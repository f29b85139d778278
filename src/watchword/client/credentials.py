"""`ClientCredentials`: gets and renews the access tokens of one application for one API."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final, Self

from watchword.client import wire
from watchword.client.client_certificate import ClientCertificate
from watchword.client.disk import DiskCache
from watchword.client.dpop import DpopKey
from watchword.client.exchange import Exchange
from watchword.client.flow import Plan
from watchword.client.http_auth import HttpAuth
from watchword.client.network import DIRECT, Network
from watchword.client.proof import Proof, SharedSecret
from watchword.client.secret import Secret
from watchword.client.sources import SecretSource
from watchword.client.surroundings import in_environment, proof_of

TIMEOUT: Final = 5.0
"""Seconds for a token request."""
TRIES: Final = 3
"""How often a token request is sent."""


class ClientCredentials(HttpAuth):
    """An application's tokens for one API: ``httpx.Client(auth=ClientCredentials(...))``.

    Args:
        issuer: the issuer's URL; the token endpoint is discovered from it (RFC 8414) on first use.
        client_id: RFC 6749 section 2.2.
        client_secret: the secret; or a function that reads it (`watchword.client.sources`), called for each token
            request; or another `Proof`: a
            `watchword.client.proof.SharedSecret` (to send the secret in the form),
            `watchword.client.private_key_jwt.PrivateKeyJwt`,
            `watchword.client.platform_token.PlatformToken` or
            `watchword.client.client_certificate.ClientCertificate`.
        resource: RFC 8707, one URI or several. ``audience``: for servers that use that word.
        scope: a space-separated text or the scopes one by one; None asks for all that is granted.
        dpop: the key that tokens are bound to and that each request is signed with (RFC 9449); None for bearer
            tokens, which anybody can use who gets hold of them.
        cache: a folder of tokens that processes share; None keeps them in memory only.
        network: timeouts, retries, the token endpoint's URL and more: see `watchword.client.network.Network`.

    Raises:
        ValueError: a URL to which no secret may be sent.

    Safe for threads, tasks, several event loops and fork. All of them share one request in flight; with ``cache``,
    processes share it too.
    """

    __slots__ = ()

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str | Secret | SecretSource | Proof,
        *,
        resource: str | Iterable[str] | None = None,
        audience: str | None = None,
        scope: str | Iterable[str] | None = None,
        dpop: DpopKey | None = None,
        cache: DiskCache | None = None,
        network: Network = DIRECT,
    ) -> None:
        insecure_http, clock = network.insecure_http, network.clock
        if network.endpoint is not None:
            wire.checked_url(network.endpoint, "token_endpoint", insecure_http=insecure_http)
        plan = Plan(
            issuer=wire.checked_url(issuer, "issuer", insecure_http=insecure_http),
            client_id=client_id,
            proof=_proof(client_secret),
            parameters=form_parameters(resource, audience, scope),
            endpoint=network.endpoint,
            insecure_http=insecure_http,
            default_life=network.default_life,
            tries=network.tries_or(TRIES),
            now=clock.now,
            rng=clock.rng,
            by_certificate=isinstance(client_secret, ClientCertificate),
            dpop=dpop,
        )
        tls = client_secret.ssl_context if isinstance(client_secret, ClientCertificate) else None
        super().__init__(
            plan, Exchange(network.timeout_or(TIMEOUT), network.transport, tls), cache, clock.sleep, clock.asleep
        )

    @classmethod
    def from_environment(cls, **options: Any) -> Self:
        """From ``WATCHWORD_ISSUER``, ``WATCHWORD_CLIENT_ID`` and the credential that the environment names.

        The first of: ``WATCHWORD_CLIENT_CERTIFICATE_FILE``, ``_CLIENT_KEY_FILE``, ``_PLATFORM``,
        ``_PLATFORM_TOKEN_FILE``, ``_CLIENT_SECRET_FILE``, ``_CLIENT_SECRET``, the systemd credential
        ``watchword-client-secret`` (docs/jobs.md). ``options`` as above.

        Raises:
            ValueError: names what is not set.
        """
        issuer, client_id = os.environ.get("WATCHWORD_ISSUER"), os.environ.get("WATCHWORD_CLIENT_ID")
        proof = proof_of(in_environment(), issuer or "")
        if not issuer or not client_id or proof is None:
            named = {"ISSUER": issuer, "CLIENT_ID": client_id, "CLIENT_SECRET": proof}
            missing = ", ".join(f"WATCHWORD_{name}" for name, value in named.items() if not value)
            raise ValueError(f"not set: {missing}")
        return cls(issuer, client_id, proof, **options)

    def __repr__(self) -> str:
        return f"ClientCredentials({self._plan.issuer!r}, {self._plan.client_id!r})"


def _proof(given: str | Secret | SecretSource | Proof) -> Proof:
    return SharedSecret(given) if isinstance(given, str | Secret) or callable(given) else given


def form_parameters(
    resource: str | Iterable[str] | None, audience: str | None, scope: str | Iterable[str] | None
) -> tuple[tuple[str, str], ...]:
    """The form's own parameters; only ``resource`` may occur more than once (RFC 8707 section 2)."""
    resources = [resource] if isinstance(resource, str) else list(resource or ())
    found = [("resource", one) for one in resources]
    if audience is not None:
        found.append(("audience", audience))
    if scope is not None:
        found.append(("scope", scope if isinstance(scope, str) else " ".join(scope)))
    return tuple(found)
