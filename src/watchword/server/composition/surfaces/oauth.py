"""Wires the OAuth endpoints that every tenant has below its issuer."""

from __future__ import annotations

from ...config import Settings
from ...http.dpop import Addresses
from ...http.front import Endpoints
from ...http.oauth.asking import Callers
from ...http.oauth.enrol import EnrolmentEndpoint
from ...http.oauth.forward_auth import ForwardAuthEndpoint
from ...http.oauth.introspect import TokenQuestions
from ...http.oauth.metadata import ClientCertificatePolicy, PublicDocuments
from ...http.oauth.register import RegistrationEndpoint
from ...http.oauth.status_list import StatusListEndpoint
from ...http.oauth.token import TokenEndpoint
from ..services import Services


def oauth_endpoints(services: Services, addresses: Addresses) -> Endpoints:
    """Every endpoint. `addresses`: the URLs that a DPoP proof may name."""
    settings, tokens = services.settings, services.tokens
    return Endpoints(
        token=TokenEndpoint(
            issue=tokens.issue,
            surface=tokens.native,
            refusals=tokens.refusals,
            body_timeout=settings.body_timeout,
            deadline=services.deadline,
            addresses=addresses,
        ),
        questions=_questions(services, addresses),
        documents=PublicDocuments(settings.key_publish_ahead, certificate_policy(settings)),
        forward_auth=ForwardAuthEndpoint(tokens.forward_auth, tokens.refusals),
        registration=_registration(services),
        enrolment=_enrolment(services),
        status_list=StatusListEndpoint(tokens.status_list),
    )


def certificate_policy(settings: Settings) -> ClientCertificatePolicy:
    """What the metadata says about client certificates."""
    base = settings.mtls_url.rstrip("/")
    return ClientCertificatePolicy(settings.takes_certificates, (lambda slug: f"{base}/t/{slug}") if base else None)


def _questions(services: Services, addresses: Addresses) -> TokenQuestions:
    clients, tokens = services.clients, services.tokens
    return TokenQuestions(
        view=services.view,
        callers=Callers(
            who=clients.who,
            tokens=tokens.reader,
            proofs=clients.proofs,
            addresses=addresses,
            clock=services.world.clock,
        ),
        introspect=tokens.introspect,
        sign=tokens.sign,
        revoke=tokens.revoke,
        follow=tokens.follow,
        refusals=tokens.refusals,
        body_timeout=services.settings.body_timeout,
        deadline=services.deadline,
    )


def _registration(services: Services) -> RegistrationEndpoint:
    return RegistrationEndpoint(
        view=services.view,
        desk=services.desk,
        refusals=services.tokens.refusals,
        body_timeout=services.settings.body_timeout,
        leeway=services.settings.clock_tolerance,
        issuer_of=services.issuer_of,
    )


def _enrolment(services: Services) -> EnrolmentEndpoint:
    return EnrolmentEndpoint(
        view=services.view,
        enrol=services.fleet.enrol,
        renew=services.fleet.renew,
        refusals=services.tokens.refusals,
        body_timeout=services.settings.body_timeout,
        issuer_of=services.issuer_of,
    )
