"""Find the keys that verify an application's assertions: registered keys, keys at its `jwks_uri`, or its secrets."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import structlog

from ....jose import Algorithm, KeySet, symmetric
from ....jose.certificate_header import Presented
from ....jose.certificates import UnacceptableCertificate, read_certificate
from ....jose.sealing import MasterKey, SealBroken
from ...protocol.request import Credentials
from ...registry import client_keys
from ...registry.model import Application, Secret
from ...registry.secret_text import sealed_place
from .fetched_keys import Fetch, FetchedKeys, wanted_kid

MAX_APPLICATIONS = 10_000
Lacks = Callable[[KeySet], bool]
"""Whether a key set lacks the needed key."""
_NONE = KeySet([])
_log = structlog.get_logger("watchword.client_keys")


class ClientKeys:
    """Finds and caches keys; one object a worker."""

    def __init__(self, fetch: Fetch, master: MasterKey, clock: Callable[[], float]) -> None:
        self._fetch, self._master = fetch, master
        self._by_value: OrderedDict[tuple[str, str], tuple[int, KeySet]] = OrderedDict()
        self._remote = FetchedKeys(_NONE, clock)

    async def of(self, application: Application, presented: Credentials, now: float) -> KeySet:
        """The keys that can verify this proof; empty when the application authenticates otherwise."""
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
            return await self._fetched(application, application.jwks_uri, _without(wanted_kid(presented.assertion)))
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
            if len(self._by_value) > MAX_APPLICATIONS:
                self._by_value.popitem(last=False)
        return known[1]

    async def _fetched(self, application: Application, uri: str, lacks: Lacks) -> KeySet:
        async def ask() -> KeySet:
            fetched = await self._fetch(uri, application.tenant_id)
            return await asyncio.to_thread(client_keys.acceptable, fetched)

        return await self._remote.get((application.tenant_id, application.client_id, uri), ask, lacks)


def _without(kid: str | None) -> Lacks:
    return lambda keys: kid is not None and kid not in keys


def _without_key_of(presented: Presented) -> Lacks:
    """A TLS handshake has no key id: compare the key itself."""
    try:
        wanted = read_certificate(presented.certificate).key_thumbprint
    except UnacceptableCertificate:
        return lambda keys: False
    return lambda keys: wanted not in [key.thumbprint() for key in keys.values()]
