"""An application with its effective scopes, roles and rate limits: the input of every grant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from ..registry.admin_rights import enrolled
from ..registry.limits import Limit
from ..registry.model import ADMIN_API, Api, Application, Grant, Role, Tenant
from .access import Access


class Standing(Struct, frozen=True):
    """An application with its scopes by API id, granted directly and through roles."""

    tenant: Tenant
    application: Application
    apis: Mapping[str, Api]
    granted: Mapping[str, frozenset[str]]
    roles: tuple[str, ...] = ()
    """The names of its roles."""
    limits: tuple[Limit, ...] = ()
    """The rate limits of its tokens, in the order of checking."""
    answers: dict[tuple[object, ...], Access] = {}
    """Cache of granted access by request; valid as long as this object."""


def granted_scopes(
    application: Application, roles: Mapping[str, Role], apis: Mapping[str, Api]
) -> dict[str, frozenset[str]]:
    """Scopes by API id, from grants and roles; only scopes that the API still offers.

    Devices never administer, whatever a role of theirs came to give (`admin_rights`).
    """
    sources: list[Iterable[Grant]] = [application.grants]
    sources += [roles[role_id].access for role_id in application.role_ids if role_id in roles]
    found: dict[str, set[str]] = {}
    for source in sources:
        for grant in source:
            found.setdefault(grant.api_id, set()).update(grant.scopes)
    return {
        api_id: frozenset(names) & apis[api_id].scope_names()
        for api_id, names in found.items()
        if api_id in apis and not (apis[api_id].identifier == ADMIN_API and enrolled(application))
    }
