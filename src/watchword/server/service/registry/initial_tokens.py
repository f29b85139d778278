"""Create and revoke the initial access tokens with which applications register themselves (RFC 7591 section 1.2)."""

from __future__ import annotations

from typing import get_args

from msgspec import Struct
from msgspec.structs import replace

from ...audit.events import InitialTokenCreated, InitialTokenRevoked
from ...protocol.enrolment import check_open
from ...protocol.errors import EnrolmentRefused
from ...registry import client_keys, rules
from ...registry.admin_rights import check_never_administers
from ...registry.errors import Invalid
from ...registry.model import SECRET_METHODS, AuthMethod, InitialToken, RegistrationPolicy
from ...registry.secret_text import INITIAL_PREFIX, digest, generate
from ..desk import EVERYTHING, Caller, Desk, apis_of, found
from ..ports import Transaction

MAX_OPEN = 100_000
"""The most registrations that all living tokens of a tenant allow together: limits the damage of a leak."""
MAX_LIFE = 366 * 86_400
MIN_SECRET_LIFE = 60


class NewInitialToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`expires_in` is seconds; `policy` limits the applications that register with the token."""

    name: str
    uses: int = 1
    expires_in: int = 86_400
    policy: RegistrationPolicy = RegistrationPolicy()
    group_id: str | None = None
    """Applications that register are put into this enrolment group; `policy` then only has software statement rules."""


def token_id(pepper: bytes, unverified_text: str) -> str:
    """The id of a token: 128 bits of its HMAC, so that looking it up compares no secret."""
    return digest(pepper, unverified_text.encode("utf-8", "surrogatepass")).removeprefix("hmac:")[:32]


async def create_initial_token(desk: Desk, caller: Caller, wanted: NewInitialToken) -> tuple[InitialToken, str]:
    """The stored token, and its text, shown once. Raises `Invalid`."""
    text, now = generate(desk.random_bytes(32), INITIAL_PREFIX), int(desk.clock())
    if not 1 <= wanted.uses <= MAX_OPEN:
        raise Invalid(f"use 1 to {MAX_OPEN}", field="uses")
    if not 1 <= wanted.expires_in <= MAX_LIFE:
        raise Invalid(f"use 1 to {MAX_LIFE} seconds", field="expires_in")
    made = InitialToken(
        tenant_id=caller.tenant_id,
        token_id=token_id(desk.pepper, text),
        name=wanted.name,
        policy=wanted.policy,
        group_id=wanted.group_id,
        uses_left=wanted.uses,
        expires_at=now + wanted.expires_in,
        created_at=now,
    )
    rules.check_name(wanted.name)
    async with desk.transaction(caller) as tx:
        if wanted.group_id is not None:
            await _check_group(tx, caller.tenant_id, wanted.group_id, wanted.policy, now)
        await _check_policy(tx, caller.tenant_id, wanted.policy)
        living = [one for one in await tx.initial_tokens.page(caller.tenant_id, None, EVERYTHING) if one.live(now)]
        if sum(one.uses_left for one in living) + wanted.uses > MAX_OPEN:
            raise Invalid(f"living tokens permit {MAX_OPEN} registrations together: revoke one first", field="uses")
        await tx.initial_tokens.add(made)
        event = InitialTokenCreated(
            token_id=made.token_id, name=made.name, uses=wanted.uses, expires_at=made.expires_at, **desk.said(caller)
        )
        tx.record(caller.tenant_id, event)
    return made, text


async def revoke_initial_token(desk: Desk, caller: Caller, token_id: str) -> None:
    """The token is rejected from now on; registered applications stay, under its policy. Raises `NotFound`."""
    async with desk.store.transaction() as tx:
        before: InitialToken = found(await tx.initial_tokens.get(caller.tenant_id, token_id), "initial access token")
        if before.revoked_at is not None:
            return
        await tx.initial_tokens.replace(
            replace(before, revoked_at=int(desk.clock()), uses_left=0, version=before.version + 1)
        )
        tx.record(caller.tenant_id, InitialTokenRevoked(token_id=token_id, **desk.said(caller)))


async def _check_group(tx: Transaction, tenant_id: str, group_id: str, policy: RegistrationPolicy, now: int) -> None:
    try:
        check_open(await tx.enrolment_groups.get(tenant_id, group_id), "registration", now)
    except EnrolmentRefused:
        raise Invalid("there is no such group, or nobody registers in it: see its ways", field="group_id") from None
    if replace(policy, publishers=(), statement_required=False, one_per_software=False) != RegistrationPolicy():
        raise Invalid("the group says what its devices become: say nothing of it here", field="policy")


async def _check_policy(tx: Transaction, tenant_id: str, policy: RegistrationPolicy) -> None:
    apis = await apis_of(tx, tenant_id)
    rules.check_grants(policy.grants, apis, "policy.grants")
    check_never_administers(policy.grants, (), {}, apis, ("policy.grants", "group_id"))
    if not policy.auth_methods or not set(policy.auth_methods) <= set(get_args(AuthMethod)):
        raise Invalid(f"name one or more of {', '.join(get_args(AuthMethod))}", field="policy.auth_methods")
    rules.check_unique(policy.auth_methods, "policy.auth_methods")
    rules.check_labels(policy.labels, "policy.labels")
    if policy.name_prefix:
        rules.check_name(policy.name_prefix.strip(), "policy.name_prefix", 100)
    if policy.secret_lifetime is not None:
        if not MIN_SECRET_LIFE <= policy.secret_lifetime <= 10 * MAX_LIFE:
            raise Invalid(f"use {MIN_SECRET_LIFE} to {10 * MAX_LIFE} seconds", field="policy.secret_lifetime")
        if not set(policy.auth_methods) & set(SECRET_METHODS):
            raise Invalid("none of the methods has a secret", field="policy.secret_lifetime")
    if policy.statement_required and not policy.publishers:
        raise Invalid("name the publishers whose statements count", field="policy.publishers")
    rules.check_unique((one.issuer for one in policy.publishers), "policy.publishers")
    for publisher in policy.publishers:
        rules.check_name(publisher.issuer, "policy.publishers", 512)
        client_keys.read_keys(publisher.jwks, 0)
