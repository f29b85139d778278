"""What an application's assertions are verified with: its keys, fetched when they stand elsewhere, or its secrets.

A fetched set serves for `CACHED` seconds; when its address does not answer, it serves on until `STALE`. A key id that
the set does not hold asks again, at most once in `COOL_DOWN` seconds for an application, so that nobody makes us fetch
without end and no failure takes good keys away (CVE-2026-48524).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from msgspec import Struct

from ...jose import Algorithm, JoseError, KeySet, decode_unverified, symmetric
from ...jose.certificate_header import Presented
from ...jose.certificates import Certificate, UnacceptableCertificate
from ...jose.sealing import MasterKey, SealBroken
from ..protocol.request import Credentials
from ..registry import client_keys
from ..registry.model import Application, Secret

CACHED = 300.0
STALE = 3_600.0
COOL_DOWN = 30.0
MAX_APPLICATIONS = 10_000
Fetch = Callable[[str], Awaitable[bytes]]
Lacks = Callable[[KeySet], bool]
"""Whether a set has not the key that is needed."""
_NONE = KeySet([])
_log = structlog.get_logger("watchword.client_keys")


class FetchFailed(Exception):
    """The address gave no answer that counts. One text, whatever was wrong; `detail` is for the operator's log."""

    def __init__(self, detail: str) -> None:
        super().__init__("the address cannot be used")
        self.detail = detail


class _Remote(Struct):
    """What is known of one address."""

    turn: asyncio.Lock
    keys: KeySet = _NONE
    fetched_at: float = float("-inf")
    asked_at: float = float("-inf")


def sealed_place(tenant_id: str, client_id: str, secret_id: str) -> str:
    """Where a sealed client secret belongs."""
    return f"client_secret/{tenant_id}/{client_id}/{secret_id}"


class ClientKeys:
    """One per worker."""

    def __init__(self, fetch: Fetch, master: MasterKey, clock: Callable[[], float]) -> None:
        self._fetch, self._master, self._clock = fetch, master, clock
        self._by_value: OrderedDict[tuple[str, str], tuple[int, KeySet]] = OrderedDict()
        self._remote: OrderedDict[tuple[str, str, str], _Remote] = OrderedDict()

    async def of(self, application: Application, presented: Credentials, now: float) -> KeySet:
        """The keys that may verify this proof; empty when the application proves itself otherwise."""
        if application.auth_method == "self_signed_tls_client_auth" and presented.certificate is not None:
            if application.jwks_uri is None:
                return self._given(application)
            return await self._fetched(application, application.jwks_uri, _without_key_of(presented.certificate))
        if application.auth_method != presented.method:
            return _NONE
        if application.auth_method == "client_secret_jwt":
            return self._secrets(application, now)
        if application.auth_method != "private_key_jwt":
            return _NONE
        if application.jwks_uri is not None:
            return await self._fetched(application, application.jwks_uri, _without(_wanted(presented)))
        return self._given(application)

    def _secrets(self, application: Application, now: float) -> KeySet:
        living = [secret for secret in application.secrets if secret.live(now) and secret.sealed]
        try:
            return KeySet(symmetric(self._open(application, secret), Algorithm.HS256, secret.id) for secret in living)
        except SealBroken as error:
            _log.error("a client secret cannot be opened", client_id=application.client_id, why=str(error))
            return _NONE

    def _open(self, application: Application, secret: Secret) -> bytes:
        place = sealed_place(application.tenant_id, application.client_id, secret.id)
        return self._master.unseal(secret.sealed, place)

    def _given(self, application: Application) -> KeySet:
        place = (application.tenant_id, application.client_id)
        known = self._by_value.get(place)
        if known is None or known[0] != application.version:
            known = self._by_value[place] = application.version, client_keys.key_set(application.keys)
            _bound(self._by_value)
        return known[1]

    async def _fetched(self, application: Application, uri: str, lacks: Lacks) -> KeySet:
        place = (application.tenant_id, application.client_id, uri)
        remote = self._remote.setdefault(place, _Remote(asyncio.Lock()))
        _bound(self._remote)
        if self._due(remote, lacks):
            async with remote.turn:  # whoever waited here finds what the first one fetched
                if self._due(remote, lacks):
                    await self._ask(application, uri, remote)
        return remote.keys if self._age(remote.fetched_at) <= STALE else _NONE

    def _due(self, remote: _Remote, lacks: Lacks) -> bool:
        if self._age(remote.asked_at) < COOL_DOWN:
            return False
        return self._age(remote.fetched_at) > CACHED or lacks(remote.keys)

    def _age(self, at: float) -> float:
        """Wall time; after the clock was set back nothing is young."""
        age = self._clock() - at
        return age if age >= 0 else float("inf")

    async def _ask(self, application: Application, uri: str, remote: _Remote) -> None:
        try:
            remote.keys = client_keys.acceptable(await self._fetch(uri))
            remote.fetched_at = self._clock()
        except (FetchFailed, JoseError) as error:
            _log.warning("an application's keys cannot be fetched", client_id=application.client_id, why=error.detail)
        remote.asked_at = self._clock()  # not before: who comes meanwhile is to wait for this answer


def _bound(cache: OrderedDict[Any, Any]) -> None:
    if len(cache) > MAX_APPLICATIONS:
        cache.popitem(last=False)


def _wanted(presented: Credentials) -> str | None:
    """The key id that the assertion names, unverified."""
    try:
        unverified_kid = decode_unverified(presented.unverified_assertion).unverified_header.get("kid")
    except JoseError:
        return None
    return unverified_kid if isinstance(unverified_kid, str) else None


def _without(kid: str | None) -> Lacks:
    return lambda keys: kid is not None and kid not in keys


def _without_key_of(presented: Presented) -> Lacks:
    """A handshake names no key id: the key itself is looked for."""
    try:
        wanted = Certificate(presented.certificate).key_thumbprint
    except UnacceptableCertificate:
        return lambda keys: False
    return lambda keys: wanted not in [key.thumbprint() for key in keys.values()]
