"""Dynamic client registration: applications register themselves (RFC 7591) and manage their registration (RFC 7592).

The policy of the initial access token limits the application, at registration and at each later update. An update
replaces the whole registration and is checked on its final state; changes by an administrator stay.
"""

from __future__ import annotations

import hmac
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ...audit.events import ApplicationCreated, ApplicationRegistered, ApplicationUpdated, SecretCreated
from ...audit.fleet_events import DeviceEnrolled
from ...protocol.client_metadata import SERVERS_OWN, ClientMetadata, certificate_members, read_metadata
from ...protocol.enrolment import check_open
from ...protocol.errors import EnrolmentRefused, InvalidClientMetadata, InvalidSoftwareStatement, InvalidToken
from ...protocol.software_statement import StatementRules, stated
from ...registry.fleet.enrolment import EnrolmentGroup, registration_policy
from ...registry.fleet.ports import FleetReads
from ...registry.model import (
    SECRET_METHODS,
    Application,
    Grant,
    InitialToken,
    Registration,
    RegistrationPolicy,
    Secret,
)
from ...registry.ports import Claims
from ...registry.secret_text import REGISTRATION_PREFIX, digest, generate
from ..desk import Caller, Desk, apis_of, audited_change
from ..ports import AuditRecorder, Transaction
from .change_application import retire_application
from .client_key_changes import record_keys
from .create_application import check_application
from .initial_tokens import token_id
from .membership import settle
from .registration_updates import by_hand_of, certificate_of, keys_of, method_of, name_of

SOFTWARE = "software_id"
_REFUSED = "the access token is not one for this registration"


class Registered(Struct, frozen=True):
    """A registered application, with the secrets that are shown in its answer."""

    application: Application
    access_token: str
    """The registration access token (RFC 7592 section 1.3)."""
    secret: str | None = None

    def __repr__(self) -> str:
        return f"Registered({self.application.client_id})"


async def register(
    desk: Desk,
    tenant_id: str,
    unverified_token: str,
    unverified: dict[str, Any],
    rules: StatementRules,
    request_id: str = "",
) -> Registered:
    """Use an initial access token once and create one application; or neither.

    Raises:
        InvalidToken: no token, or one that is used up, expired or revoked. `OAuthError` of RFC 7591 section 3.2.2.
        RegistryError: a rule of the registry is broken; `Conflict` where only one may be.
    """
    initial_id, now = token_id(desk.pepper, unverified_token), desk.clock()
    async with desk.store.snapshot() as seen:  # unauthenticated callers get no writing transaction
        initial = await seen.initial_tokens.get(tenant_id, initial_id)
    living = _living(initial, now)
    wanted = _read(unverified, living.policy, now, rules)
    if wanted.jwks_uri is not None:
        await desk.check_address(wanted.jwks_uri, tenant_id)
    async with desk.store.transaction() as tx:
        group = await _group(tx, living, now)
        current = _living(await tx.initial_tokens.get(tenant_id, initial_id), now)
        used = replace(current, uses_left=current.uses_left - 1, version=current.version + 1)
        await tx.initial_tokens.replace(used)
        policy = _policy(current, group)
        blank = Application(
            tenant_id=tenant_id, client_id=desk.new_id(), name="", kind=policy.kind, labels=policy.labels,
            created_at=int(now), version=0,
        )  # fmt: skip
        if group is not None:
            blank = _member(blank, group)
        made = await _shaped(desk, tx, blank, wanted, initial_id, policy)
        caller = Caller(tenant_id, made.application.client_id, request_id)
        await _claim(tx, made.application, wanted, policy)
        await check_application(tx, made.application)
        await settle(tx, None, made.application)
        await tx.applications.add(made.application)
        _record_creation(desk, tx, caller, made.application)
    return made


async def show_registration(desk: Desk, tenant_id: str, client_id: str, unverified_token: str) -> Registered:
    """RFC 7592 section 2.1. Raises `InvalidToken`, also for a disabled, quarantined or deleted application."""
    async with desk.store.snapshot() as seen:
        application = _owner(desk, await seen.applications.get(tenant_id, client_id), unverified_token)
    return Registered(application, unverified_token)


async def update_registration(
    desk: Desk, tenant_id: str, client_id: str, unverified_token: str, unverified: dict[str, Any],
    rules: StatementRules, request_id: str = "",
) -> Registered:  # fmt: skip
    """RFC 7592 section 2.2: replaces the registration. Absent members get their default; the token is replaced."""
    caller, now = Caller(tenant_id, client_id, request_id), desk.clock()
    async with desk.store.snapshot() as seen:
        before = _owner(desk, await seen.applications.get(tenant_id, client_id), unverified_token)
        initial = await seen.initial_tokens.get(tenant_id, _registration(before).token_id)
        group = await _group_of(seen, initial)
    _check_own_members(desk, before, unverified)
    policy = _policy(initial, group)
    if _registration(before).statement:
        policy = replace(policy, statement_required=True)
    unverified = {name: value for name, value in unverified.items() if name not in ("client_id", "client_secret")}
    if unverified.get("grant_types") == list(before.grant_types):
        del unverified["grant_types"]  # those that an administrator has added are repeated, and stay
    wanted = _read(unverified, policy, now, rules)
    if wanted.software_id != _registration(before).software_id:
        raise InvalidClientMetadata("software_id stays what it was: another software is another registration")
    if wanted.jwks_uri is not None:
        await desk.check_address(wanted.jwks_uri, tenant_id)
    async with desk.store.transaction() as tx:
        before = _owner(desk, await tx.applications.get(tenant_id, client_id), unverified_token)
        made = await _shaped(desk, tx, before, wanted, _registration(before).token_id, policy)
        await check_application(tx, made.application)
        await tx.applications.replace(made.application)
        told = audited_change(before, made.application)
        tx.record(tenant_id, ApplicationUpdated(client_id=client_id, **told, **desk.said(caller)))
        record_keys(tx, desk, caller, before, made.application)
    return made


async def delete_registration(
    desk: Desk, tenant_id: str, client_id: str, unverified_token: str, request_id: str = ""
) -> None:
    """RFC 7592 section 2.3: ends its secrets, its tokens and its registration access token."""
    async with desk.store.transaction() as tx:
        before = _owner(desk, await tx.applications.get(tenant_id, client_id), unverified_token)
        await retire_application(desk, tx, Caller(tenant_id, client_id, request_id), before)


def client_information(made: Registered, address: str) -> dict[str, Any]:
    """RFC 7591 section 3.2.1 and RFC 7592 section 3: the metadata as registered, which may differ from the request."""
    a, kept = made.application, _registration(made.application)
    told: dict[str, Any] = {
        "client_id": a.client_id,
        "client_id_issued_at": a.created_at,
        "registration_access_token": made.access_token,
        "registration_client_uri": address,
        "client_name": a.name,
        "token_endpoint_auth_method": a.auth_method,
        "grant_types": list(a.grant_types),
        "response_types": [],
        "scope": " ".join(sorted({scope for grant in a.grants for scope in grant.scopes})),
        **{name: text for name, text in kept.names.items() if name != "client_name"},
        **kept.uris,
        **certificate_members(a.tls_client_auth),
    }
    if made.secret is not None:
        told["client_secret"] = made.secret
    if a.auth_method in SECRET_METHODS and a.secrets:
        told["client_secret_expires_at"] = a.secrets[-1].expires_at or 0
    optional = {
        "jwks_uri": a.jwks_uri, "contacts": list(kept.contacts), "software_id": kept.software_id,
        "software_version": kept.software_version, "software_statement": kept.statement,
        "jwks": {"keys": [key.jwk for key in a.keys]} if a.keys else None,
        "dpop_bound_access_tokens": a.require_dpop, "tls_client_certificate_bound_access_tokens": a.require_bound,
    }  # fmt: skip
    return {**told, **{name: value for name, value in optional.items() if value}}


# -- the caller ------------------------------------------------------------------------------------


def _living(initial: InitialToken | None, now: float) -> InitialToken:
    if initial is None or not initial.live(now):
        raise InvalidToken("the initial access token is unknown, used up, expired or revoked: ask for a new one")
    return initial


def _owner(desk: Desk, application: Application | None, unverified_token: str) -> Application:
    """Unknown and wrong take the same time; a disabled or quarantined application cannot change that here."""
    registration = application.registration if application is not None else None
    kept = registration.digest if registration is not None else _NOBODY
    given = digest(desk.pepper, unverified_token.encode("utf-8", "surrogatepass"))
    right = hmac.compare_digest(kept.encode(), given.encode())
    if not right or application is None or registration is None or not application.active:
        raise InvalidToken(_REFUSED)
    return application


_NOBODY = "hmac:" + "0" * 64


def _registration(application: Application) -> Registration:
    assert application.registration is not None
    return application.registration


async def _group_of(look: FleetReads, initial: InitialToken | None) -> EnrolmentGroup | None:
    if initial is None or initial.group_id is None:
        return None
    return await look.enrolment_groups.get(initial.tenant_id, initial.group_id)


async def _group(tx: Transaction, initial: InitialToken, now: float) -> EnrolmentGroup | None:
    """The token's group, locked in the same order as all changes of applications. Raises `InvalidToken`."""
    if initial.group_id is None:
        return None
    await tx.tenants.get("", initial.tenant_id)
    try:
        return check_open(await _group_of(tx, initial), "registration", now)
    except EnrolmentRefused as refusal:
        raise InvalidToken(refusal.public, rule=refusal.rule) from None


def _policy(initial: InitialToken | None, group: EnrolmentGroup | None) -> RegistrationPolicy:
    policy = initial.policy if initial is not None else RegistrationPolicy()
    return registration_policy(policy, group) if group is not None else policy


# -- the new record -----------------------------------------------------------------------------


def _read(unverified: dict[str, Any], policy: RegistrationPolicy, now: float, rules: StatementRules) -> ClientMetadata:
    """The request's metadata; those of a software statement replace them."""
    wanted = read_metadata(unverified)
    if wanted.statement:
        wanted = read_metadata({**unverified, **stated(wanted.statement, policy.publishers, now, rules)})
    elif policy.statement_required:
        raise InvalidSoftwareStatement("this registration needs a software_statement of an approved publisher")
    if policy.one_per_software and not wanted.software_id:
        raise InvalidClientMetadata("this registration needs a software_id")
    return wanted


def _check_own_members(desk: Desk, before: Application, unverified: dict[str, Any]) -> None:
    """RFC 7592 section 2.2: members that an update must have, must not have, or may only repeat."""
    if unverified.get("client_id") != before.client_id:
        raise InvalidClientMetadata("an update says the client_id that it is for")
    if taken := sorted(SERVERS_OWN & unverified.keys()):
        raise InvalidClientMetadata(f"{taken[0]} is the server's to say: leave it out")
    secret = unverified.get("client_secret", "")
    given = digest(desk.pepper, str(secret).encode("utf-8", "surrogatepass"))
    known = [
        hmac.compare_digest(one.digest.encode(), given.encode()) for one in before.secrets if one.live(desk.clock())
    ]
    if "client_secret" in unverified and not any(known):
        raise InvalidClientMetadata("client_secret is not the present one: it cannot be chosen")


def _member(blank: Application, group: EnrolmentGroup) -> Application:
    """The application as a member of the group, with a name by the group's pattern."""
    name = group.device_name(None, blank.client_id)
    return replace(blank, name=name, group_id=group.group_id, role_ids=group.role_ids)


async def _shaped(
    desk: Desk,
    tx: Transaction,
    before: Application,
    wanted: ClientMetadata,
    initial_id: str,
    policy: RegistrationPolicy,
) -> Registered:
    """`before` changed by the metadata and the policy, with a new registration access token."""
    method, by_hand = method_of(before, wanted, policy), by_hand_of(before)
    grants, granted = await _grants(tx, before, wanted, policy)
    access_token = generate(desk.random_bytes(32), REGISTRATION_PREFIX)
    name = wanted.names.get("client_name") or f"registered {before.client_id[:8]}"
    names = {member: text for member, text in wanted.names.items() if member != "client_name"}
    registration = Registration(
        digest=digest(desk.pepper, access_token.encode()), token_id=initial_id, granted=granted, names=names,
        uris=wanted.uris, contacts=wanted.contacts, software_id=wanted.software_id,
        software_version=wanted.software_version, statement=wanted.statement,
        auth_method=_registration(before).auth_method if by_hand.auth_method is not None else method,
        require_bound=wanted.require_bound and not by_hand.require_bound,
        require_dpop=wanted.require_dpop and not by_hand.require_dpop,
    )  # fmt: skip
    after = replace(
        before,
        name=name_of(before, name, policy),
        auth_method=method,
        keys=keys_of(before, wanted, int(desk.clock())),
        jwks_uri=wanted.jwks_uri,
        tls_client_auth=certificate_of(before, wanted) if method == "tls_client_auth" else None,
        require_bound=policy.require_bound or wanted.require_bound or by_hand.require_bound,
        require_dpop=wanted.require_dpop or by_hand.require_dpop,
        grants=grants,
        registration=registration,
        version=before.version + 1,
    )
    secrets, text = _secrets(desk, before, after, policy)
    return Registered(replace(after, secrets=secrets), access_token, text)


async def _grants(
    tx: Transaction, before: Application, wanted: ClientMetadata, policy: RegistrationPolicy
) -> tuple[tuple[Grant, ...], tuple[Grant, ...]]:
    """The policy's grants that still exist; or the administrator's, where an administrator has changed them.

    And the grants that are recorded as given by registration.
    """
    apis = await apis_of(tx, before.tenant_id)
    kept = before.registration.granted if before.registration is not None else ()
    by_hand = before.registration is not None and kept != before.grants
    source = before.grants if by_hand else policy.grants
    most = tuple(
        Grant(api_id=grant.api_id, scopes=tuple(s for s in grant.scopes if s in apis[grant.api_id].scope_names()))
        for grant in source
        if grant.api_id in apis
    )
    if wanted.scope is None:
        return most, kept if by_hand else most
    if missing := sorted(wanted.scope - {scope for grant in source for scope in grant.scopes}):
        raise InvalidClientMetadata(f"the scope {missing[0][:128]} cannot be had by this registration")
    if by_hand:
        return most, kept
    narrowed = [Grant(api_id=g.api_id, scopes=tuple(s for s in g.scopes if s in wanted.scope)) for g in most]
    given = tuple(grant for grant in narrowed if grant.scopes)
    return given, given


def _secrets(
    desk: Desk, before: Application, after: Application, policy: RegistrationPolicy
) -> tuple[tuple[Secret, ...], str | None]:
    """The present secrets, if the method still uses them; a new one for a method that needs it."""
    kinds = before.auth_method == "client_secret_jwt", after.auth_method == "client_secret_jwt"
    if after.auth_method not in SECRET_METHODS:
        return (), None
    if before.secrets and kinds[0] == kinds[1]:
        return before.secrets, None
    life = policy.secret_lifetime
    kept, text = desk.new_secret(int(desk.clock()) + life if life is not None else None)
    return (desk.kept_for(after, kept, text),), text


async def _claim(tx: Claims, made: Application, wanted: ClientMetadata, policy: RegistrationPolicy) -> None:
    if policy.one_per_software:
        await tx.claim(made.tenant_id, SOFTWARE, wanted.software_id, made.client_id)


def _record_creation(desk: Desk, tx: AuditRecorder, caller: Caller, made: Application) -> None:
    said, tenant_id, kept = desk.said(caller), caller.tenant_id, _registration(made)
    tx.record(tenant_id, ApplicationCreated(client_id=made.client_id, name=made.name, imported=False, **said))
    registered = ApplicationRegistered(
        client_id=made.client_id, token_id=kept.token_id, software_id=kept.software_id, **said
    )
    tx.record(tenant_id, registered)
    if made.group_id is not None:
        tx.record(
            tenant_id, DeviceEnrolled(client_id=made.client_id, group_id=made.group_id, way="registration", **said)
        )
    for secret in made.secrets:
        event = SecretCreated(client_id=made.client_id, secret_id=secret.id, expires_at=secret.expires_at, **said)
        tx.record(tenant_id, event)
    record_keys(tx, desk, caller, replace(made, keys=()), made)
