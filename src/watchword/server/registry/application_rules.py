"""Check an application against all rules before it is stored; every verb that changes applications uses it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from . import client_keys, identity_rules, rules
from .admin_rights import check_enrolled
from .errors import Conflict, Invalid
from .model import Api, Application, Role, Tenant
from .profiles import PROFILES, application_gap
from .rate_limit import check_rate_limit
from .trusted_issuer import TrustedIssuer


class Surroundings(Struct, frozen=True):
    """What an application is checked against: everything that its members may name."""

    tenant: Tenant
    apis: dict[str, Api]
    roles: Mapping[str, Role]
    issuers: dict[str, TrustedIssuer]
    signs: frozenset[str]
    """The algorithms of the tenant's active signing keys."""
    grant_types: tuple[str, ...]
    """The grant types that the server knows."""


def check_application(application: Application, around: Surroundings) -> None:
    """Raises `Invalid`, `Conflict`."""
    rules.check_name(application.name)
    rules.check_text(application.description, "description")
    rules.check_client_id(application.client_id)
    rules.check_grant_types(application.grant_types, around.grant_types)
    client_keys.check_credentials(application)
    if application.identities:
        identity_rules.check_rules(application.identities, around.issuers, application.auth_method)
    rules.check_labels(application.labels, "labels")
    check_rate_limit(application.rate_limit, "rate_limit")
    rules.check_grants(application.grants, around.apis, "grants")
    rules.check_exchange(application, around.apis)
    if application.default_api_id is not None and application.default_api_id not in around.apis:
        raise Invalid("there is no such API", field="default_api_id")
    rules.check_unique(application.role_ids, "role_ids")
    for role_id in application.role_ids:
        if role_id not in around.roles:
            raise Invalid(f"there is no role {role_id!r}", field="role_ids")
    if application.enabled:  # a device that has them nevertheless can be disabled
        check_enrolled(application, around.roles, around.apis)
    _check_signed_answers(application, around)
    if len({secret.id for secret in application.secrets}) != len(application.secrets):
        raise Conflict("two secrets have one id")
    profile = around.tenant.profile
    gap = application_gap(PROFILES[profile], application) if application.enabled else ""
    if gap:
        raise Invalid(f"the profile {profile} of this tenant refuses {gap}", field="auth_method")


def _check_signed_answers(application: Application, around: Surroundings) -> None:
    algorithm = application.introspection_signed_response_alg
    if algorithm is not None and algorithm not in around.signs:
        raise Invalid(
            f"no {algorithm} key is in use here: an API whose tokens are signed with it brings one",
            field="introspection_signed_response_alg",
        )
