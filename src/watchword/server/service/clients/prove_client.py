"""Authenticate an application: the first step of /token, /introspect and /revoke, and the same in each."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from ....jose import KeySet
from ....jose.certificates import Certificate, UnacceptableCertificate
from ...protocol import access as rules
from ...protocol.client_auth import authenticate, foreign_statement, private_key_jwt
from ...protocol.client_auth.assertion import spend
from ...protocol.client_auth.grounds import Grounds, Proven
from ...protocol.errors import InvalidClient
from ...protocol.profile import window_in
from ...protocol.proof_jwt import Window
from ...protocol.request import Credentials
from ...protocol.standing import Standing
from ...registry.certificates import spiffe_id
from ...registry.identity_rules import rules_of
from ...registry.model import Application
from ...registry.spiffe import trust_domain
from ...registry.trusted_issuer import TrustedIssuer
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

    async def __call__(self, tenant: TenantView, presented: Credentials, now: float, source: str = "") -> Client:
        """The application, and the credential with which it authenticated. `source` is the caller's address.

        Raises `SlowDown` too, where secrets were imported as slow hashes.
        """
        as_of, hashed = self._view.seq, False
        known = standing = tenant.standings.get(presented.unverified_client_id)
        if standing is None:
            standing = await self._view.standing(tenant, presented.unverified_client_id)
        if standing is not None and self._imported.concern(standing.application):
            hashed = await self._imported.upgrade(standing.application, presented, source, now)
            as_of = self._view.seq
            standing = await self._view.standing(tenant, presented.unverified_client_id)
        try:
            proven = await self._judge(tenant, standing.application if standing is not None else None, presented, now)
        except InvalidClient:
            if known is not None:
                await self._view.look_in_vain(tenant)
            if not hashed and presented.unverified_secret:
                await self._imported.spend(tenant.tenant.tenant_id, presented, source, now)
            raise
        assert standing is not None
        rules.check_may_act(tenant.tenant, standing.application)
        return Client(standing, proven, as_of)

    async def _judge(
        self, tenant: TenantView, application: Application | None, presented: Credentials, now: float
    ) -> Proven:
        window = window_in(tenant.profile, self._window) if tenant.profile.name else self._window
        issuer = self._issuer_of(tenant.tenant.slug)
        grounds = Grounds(self._pepper, now, issuer, _NO_KEYS, window, profile=tenant.profile)
        if application is not None and (presented.method == "tls_client_auth" or _asserts_itself(presented)):
            if application.jwks_uri is not None:
                _check_worth_fetching(tenant, application, presented, grounds)
            grounds = replace(grounds, keys=await self._keys.of(application, presented, now))
        if presented.unverified_issuer:
            grounds = await self._foreign(tenant, application, presented.unverified_issuer, presented, grounds)
        elif application is not None and application.auth_method == "spiffe_x509" and presented.assertion is None:
            grounds = await self._foreign(tenant, application, _unverified_domain(presented), presented, grounds)
        elif presented.method == "tls_client_auth":
            grounds = replace(grounds, anchors=tenant.anchors())
        return authenticate(application, presented, grounds)

    async def _foreign(
        self, tenant: TenantView, application: Application | None, name: str, presented: Credentials, grounds: Grounds
    ) -> Grounds:
        """Add the trusted issuer to the grounds, and its keys: fetched only if the application has a rule about it."""
        issuer = tenant.trusted(name)
        if issuer is None or not rules_of(application, issuer):
            return replace(grounds, trusted=issuer)
        assert application is not None  # it has rules
        if not (issuer.keys or issuer.authorities):
            _check_worth_fetching(tenant, application, presented, grounds, issuer)
        bundle = await self._issuers.of(issuer, wanted_kid(presented.assertion))
        return replace(grounds, keys=bundle.keys, anchors=bundle.anchors, trusted=issuer)


def _check_worth_fetching(
    tenant: TenantView, application: Application, presented: Credentials, grounds: Grounds,
    issuer: TrustedIssuer | None = None,
) -> None:  # fmt: skip
    """Refuse what no key could save, before strangers make us fetch keys. Raises `InvalidClient`."""
    try:
        rules.check_may_act(tenant.tenant, application)
        if issuer is not None:
            foreign_statement.check_unverified(issuer, presented, grounds)
        elif presented.method == application.auth_method == "private_key_jwt":
            private_key_jwt.check_unverified(application, presented, grounds)
    except InvalidClient:
        if presented.assertion is not None:
            spend(presented.assertion)  # as long as for an unknown application
        raise


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
