"""Authenticate an application: the first step of /token, /introspect and /revoke, and the same in each."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from ....jose import KeySet
from ....jose.certificates import Certificate, UnacceptableCertificate
from ...protocol import access as rules
from ...protocol.client_auth import authenticate
from ...protocol.client_auth.grounds import Grounds, Proven
from ...protocol.profile import window_in
from ...protocol.proof_jwt import Window
from ...protocol.request import Credentials
from ...protocol.standing import Standing
from ...registry.certificates import spiffe_id
from ...registry.identity_rules import rules_of
from ...registry.model import Application
from ...registry.spiffe import trust_domain
from ..view import TenantView, View
from .client_keys import ClientKeys
from .fetched_keys import wanted_kid
from .imported_secrets import ImportedSecrets
from .issuer_keys import IssuerKeys

_NO_KEYS = KeySet([])


class Client(Struct, frozen=True):
    """An authenticated application. The replay mark in `proven` is not consumed yet."""

    standing: Standing
    proven: Proven
    as_of: int
    """The position of the cache in the change feed before anything was read from it."""


class ProveClient:
    """Raises `InvalidClient`, the same for unknown, wrong, expired and disabled; `StorageUnavailable`."""

    def __init__(
        self, *, view: View, imported: ImportedSecrets, keys: ClientKeys, issuers: IssuerKeys,
        issuer_of: Callable[[str], str], pepper: bytes, window: Window,
    ) -> None:  # fmt: skip
        self._view, self._imported, self._keys, self._issuers = view, imported, keys, issuers
        self._issuer_of, self._pepper, self._window = issuer_of, pepper, window

    async def __call__(self, tenant: TenantView, presented: Credentials, now: float) -> Client:
        """The application, and the credential with which it authenticated."""
        as_of = self._view.seq
        standing = await self._view.standing(tenant, presented.unverified_client_id)
        if standing is not None and self._imported.concern(standing.application):
            await self._imported.upgrade(standing.application, presented, now)
            as_of = self._view.seq
            standing = await self._view.standing(tenant, presented.unverified_client_id)
        application = standing.application if standing is not None else None
        keys = _NO_KEYS
        if application is not None and (presented.method == "tls_client_auth" or _asserts_itself(presented)):
            keys = await self._keys.of(application, presented, now)
        window = window_in(tenant.profile, self._window) if tenant.profile.name else self._window
        grounds = Grounds(self._pepper, now, self._issuer_of(tenant.tenant.slug), keys, window, profile=tenant.profile)
        if presented.unverified_issuer:
            grounds = await self._foreign(tenant, application, presented.unverified_issuer, presented, grounds)
        elif application is not None and application.auth_method == "spiffe_x509" and presented.assertion is None:
            grounds = await self._foreign(tenant, application, _unverified_domain(presented), presented, grounds)
        elif presented.method == "tls_client_auth":
            grounds = replace(grounds, anchors=tenant.anchors())
        proven = authenticate(application, presented, grounds)
        assert standing is not None and application is not None
        rules.check_may_act(tenant.tenant, application)
        return Client(standing, proven, as_of)

    async def _foreign(
        self, tenant: TenantView, application: Application | None, name: str, presented: Credentials, grounds: Grounds
    ) -> Grounds:
        """Add the trusted issuer to the grounds, and its keys: fetched only if the application has a rule about it."""
        issuer = tenant.trusted(name)
        if issuer is None or not rules_of(application, issuer):
            return replace(grounds, trusted=issuer)
        bundle = await self._issuers.of(issuer, wanted_kid(presented.assertion))
        return replace(grounds, keys=bundle.keys, anchors=bundle.anchors, trusted=issuer)


def _asserts_itself(presented: Credentials) -> bool:
    return presented.assertion is not None and not presented.unverified_issuer


def _unverified_domain(presented: Credentials) -> str:
    """The trust domain in a certificate's SPIFFE id; empty without one."""
    if presented.certificate is None:
        return ""
    try:
        return trust_domain(spiffe_id(Certificate(presented.certificate.certificate)))
    except UnacceptableCertificate:
        return ""
