"""Which limits hold for an application: its own, its enrolment group's, its tenant's."""

from __future__ import annotations

from msgspec import Struct

from .model import Application, Tenant
from .rate_limit import RateLimit


class Limit(Struct, frozen=True):
    """One rate, and what is counted against it."""

    subject: str
    """Whose it is and how much: with another rate the count begins anew, for a debt is in seconds of its rate."""
    rate: RateLimit
    together: bool
    """Whether more than one application spends it: those that it refuses get turns one after another."""
    rule: str
    """By which refusals are added up."""


class GroupLimit(Struct, frozen=True):
    """What the token path knows of an enrolment group."""

    group_id: str
    rate_limit: RateLimit | None = None


def limits_of(tenant: Tenant, application: Application, group: RateLimit | None) -> tuple[Limit, ...]:
    """In the order in which they are asked: what one breaks beyond its own limit is not counted against the others."""
    limits = (
        _limit("application", application.client_id, application.rate_limit),
        _limit("group", application.group_id or "", group, together=True),
        _limit("tenant", tenant.tenant_id, tenant.rate_limit, together=True),
    )
    return tuple(limit for limit in limits if limit is not None)


def _limit(kind: str, id: str, rate: RateLimit | None, *, together: bool = False) -> Limit | None:
    if rate is None:
        return None
    return Limit(f"{kind} {id} {rate.per_second!r}:{rate.burst}", rate, together, f"{kind} limit")
