"""Find the rate limits of an application: its own, its enrolment group's and its tenant's."""

from __future__ import annotations

from msgspec import Struct

from .model import Application, Tenant
from .rate_limit import RateLimit


class Limit(Struct, frozen=True):
    """One rate limit, and the subject that it is counted for."""

    subject: str
    """The owner and the rate: a changed rate starts a new count, because the count is kept in seconds of the rate."""
    rate: RateLimit
    together: bool
    """Whether several applications share it: rejected requests then get staggered retry times."""
    rule: str
    """The rule under which rejections are summed up."""


class GroupLimit(Struct, frozen=True):
    """The part of an enrolment group that the token path needs."""

    group_id: str
    rate_limit: RateLimit | None = None


def limits_of(tenant: Tenant, application: Application, group: RateLimit | None) -> tuple[Limit, ...]:
    """In the order of checking: a request over the application's own limit is not counted against the others."""
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
