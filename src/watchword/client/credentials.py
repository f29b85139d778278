"""`ClientCredentials`: what an application holds."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from watchword.client import wire
from watchword.client.client_certificate import ClientCertificate
from watchword.client.disk import DiskCache
from watchword.client.dpop import DpopKey
from watchword.client.exchange import Exchange
from watchword.client.flow import Plan
from watchword.client.http_auth import HttpAuth
from watchword.client.proof import AuthMethod, Proof, SharedSecret
from watchword.client.secret import Secret
from watchword.client.sources import SecretSource
from watchword.client.surroundings import in_environment, proof_of

if TYPE_CHECKING:
    from watchword.client.exchange import Transport


class ClientCredentials(HttpAuth):
    """An application's tokens for one API: ``httpx.Client(auth=ClientCredentials(...))``.

    Args:
        issuer: the issuer's URL; the token endpoint is discovered from it (RFC 8414) on first use.
        client_id: RFC 6749 section 2.2.
        client_secret: the secret; or where it is kept (`watchword.client.sources`), which is then read for
            each token request; or another `Proof`: a
            `watchword.client.private_key_jwt.PrivateKeyJwt`, a
            `watchword.client.platform_token.PlatformToken`, a
            `watchword.client.client_certificate.ClientCertificate`.
        resource: RFC 8707, one URI or several. ``audience``: for servers that use that word.
        scope: a space-separated text or the scopes one by one; None asks for all that is granted.
        token_endpoint: skips discovery. ``auth_method``: where id and secret are put.
        dpop: the key that tokens are bound to and that each request is signed with (RFC 9449); None for bearer
            tokens, which are whoever's holds them.
        cache: a folder of tokens that processes share; None keeps them in memory only.
        timeout: seconds for connecting, and for the answer. ``tries``: how often a request may be sent.
            While the issuer says when to come again (``Retry-After``), up to eight times, unless ``tries`` is 1.
        default_life: seconds for which a token without ``expires_in`` is kept.
        insecure_http: lets secret and tokens travel over plain http to other machines; never in production.
        now, sleep, asleep, rng, transport: clock (Unix seconds), waiting, chance in [0, 1) and network.

    Raises:
        ValueError: a URL where no secret may go, or an unknown method.

    Safe for threads, tasks, several event loops and fork; all of them share one request in flight, and
    with ``cache`` so do processes.
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
        token_endpoint: str | None = None,
        auth_method: AuthMethod = "client_secret_basic",
        dpop: DpopKey | None = None,
        cache: DiskCache | None = None,
        timeout: float = 5.0,
        tries: int = 3,
        default_life: float = 60.0,
        insecure_http: bool = False,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        asleep: Callable[[float], Awaitable[None]] | None = None,
        rng: Callable[[], float] | None = None,
        transport: Transport | None = None,
    ) -> None:
        if tries < 1:
            raise ValueError("tries is at least 1")
        if token_endpoint is not None:
            wire.checked_url(token_endpoint, "token_endpoint", insecure_http=insecure_http)
        plan = Plan(
            issuer=wire.checked_url(issuer, "issuer", insecure_http=insecure_http),
            client_id=client_id,
            proof=_proof(client_secret, auth_method),
            parameters=form_parameters(resource, audience, scope),
            endpoint=token_endpoint,
            insecure_http=insecure_http,
            default_life=default_life,
            tries=tries,
            now=now,
            rng=rng or chance,
            by_certificate=isinstance(client_secret, ClientCertificate),
            dpop=dpop,
        )
        tls = client_secret.ssl_context if isinstance(client_secret, ClientCertificate) else None
        super().__init__(plan, Exchange(timeout, transport, tls), cache, sleep, asleep or pause)

    @classmethod
    def from_environment(cls, **options: Any) -> Self:
        """From ``WATCHWORD_ISSUER``, ``WATCHWORD_CLIENT_ID``, and what proves that the program is this application.

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


async def pause(seconds: float) -> None:
    """asyncio's sleep; asyncio is imported by those who use it, which takes half as long as all of this."""
    import asyncio

    await asyncio.sleep(seconds)


def chance() -> float:
    """The system's source has no state, so a forked child does not repeat its parent's jitter."""
    return random.SystemRandom().random()


def _proof(given: str | Secret | SecretSource | Proof, method: AuthMethod) -> Proof:
    if isinstance(given, str | Secret):
        secret = Secret(given)
        return SharedSecret(lambda: secret, method)
    return SharedSecret(given, method) if callable(given) else given


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
