"""Add and remove identity rules: which tokens of trusted issuers authenticate an application."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from ...audit.events import IdentityRuleAdded, IdentityRuleRemoved
from ...registry.errors import Conflict, NotFound
from ...registry.identity_rules import check_rules
from ...registry.model import BORROWING_METHODS, Application
from ...registry.trusted_issuer import Condition, IdentityRule
from ..desk import Caller, Desk, found, issuers_of
from ..ports import AuditRecorder
from .rights import check_may_change


class NewIdentityRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The issuer, and the conditions that its token must meet: all of them."""

    issuer_id: str
    conditions: tuple[Condition, ...]


def new_rule(desk: Desk, wanted: NewIdentityRule) -> IdentityRule:
    """The rule with an id; not checked yet."""
    return IdentityRule(rule_id=desk.new_id(), issuer_id=wanted.issuer_id, conditions=wanted.conditions)


async def add_identity(
    desk: Desk, caller: Caller, client_id: str, wanted: NewIdentityRule
) -> tuple[Application, IdentityRule]:
    """The rule applies beside the others as soon as this returns. Raises `Invalid`, `Conflict`, `NotFound`."""
    rule = new_rule(desk, wanted)
    async with desk.transaction(caller) as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        await check_may_change(tx, caller, before)
        if before.auth_method not in BORROWING_METHODS:
            raise Conflict(
                f"this application proves itself by {before.auth_method}; "
                f"change its auth_method to one of {', '.join(BORROWING_METHODS)} first"
            )
        issuers = await issuers_of(tx, caller.tenant_id)
        living = tuple(known for known in before.identities if known.issuer_id in issuers)
        after = replace(before, identities=(*living, rule), version=before.version + 1)
        check_rules(after.identities, issuers, after.auth_method)
        await tx.applications.replace(after)
        record_identities(tx, desk, caller, before, after)
    return after, rule


async def remove_identity(desk: Desk, caller: Caller, client_id: str, rule_id: str) -> Application:
    """The rule has no effect as soon as this returns. Raises `NotFound`."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        await check_may_change(tx, caller, before)
        rest = tuple(rule for rule in before.identities if rule.rule_id != rule_id)
        if len(rest) == len(before.identities):
            raise NotFound("there is no such identity rule")
        after = replace(before, identities=rest, version=before.version + 1)
        await tx.applications.replace(after)
        record_identities(tx, desk, caller, before, after)
    return after


def record_identities(tx: AuditRecorder, desk: Desk, caller: Caller, before: Application, after: Application) -> None:
    """One event for each added or removed rule."""
    said = desk.said(caller)
    old = {rule.rule_id for rule in before.identities}
    new = {rule.rule_id: rule for rule in after.identities}
    for rule_id in sorted(old - new.keys()):
        tx.record(caller.tenant_id, IdentityRuleRemoved(client_id=after.client_id, rule_id=rule_id, **said))
    for rule_id, rule in new.items():
        if rule_id not in old:
            event = IdentityRuleAdded(client_id=after.client_id, rule_id=rule_id, issuer_id=rule.issuer_id, **said)
            tx.record(caller.tenant_id, event)
