"""Where an application stands: all that a grant may know about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from ..registry.limits import Limit
from ..registry.model import Api, Application, Grant, Role, Tenant
from .access import Access


class Standing(Struct, frozen=True):
    """An application with what it is granted, directly and through roles, by API id."""

    tenant: Tenant
    application: Application
    apis: Mapping[str, Api]
    granted: Mapping[str, frozenset[str]]
    roles: tuple[str, ...] = ()
    """The names of its roles."""
    limits: tuple[Limit, ...] = ()
    """What its tokens are counted against, in this order."""
    answers: dict[tuple[object, ...], Access] = {}
    """What it was given before, by what it asked for. Good for as long as the standing is."""


def granted_scopes(
    application: Application, roles: Mapping[str, Role], apis: Mapping[str, Api]
) -> dict[str, frozenset[str]]:
    """Scopes by API id: grants and roles together, only what the API still offers."""
    sources: list[Iterable[Grant]] = [application.grants]
    sources += [roles[role_id].access for role_id in application.role_ids if role_id in roles]
    found: dict[str, set[str]] = {}
    for source in sources:
        for grant in source:
            found.setdefault(grant.api_id, set()).update(grant.scopes)
    return {api_id: frozenset(names) & apis[api_id].scope_names() for api_id, names in found.items() if api_id in apis}
