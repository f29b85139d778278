"""Create an application, or import one from another server."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ...audit.events import ApplicationCreated, SecretCreated
from ...registry import application_rules, client_keys
from ...registry.certificates import check_anchor
from ...registry.errors import Invalid
from ...registry.imported_hash import MIN_SECRET, check_imported_digest
from ...registry.model import (
    CLIENT_CREDENTIALS,
    SECRET_METHODS,
    Application,
    AuthMethod,
    CertificateName,
    Grant,
    Kind,
    Secret,
    SigningAlgorithm,
)
from ...registry.rate_limit import RateLimit
from ...registry.secret_text import digest
from ..desk import Caller, Desk, surroundings_of
from ..ports import Transaction
from .client_key_changes import record_keys
from .identity_changes import NewIdentityRule, new_rule, record_identities
from .membership import settle
from .rights import check_may_change


class NewApplication(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be said at registration. `client_id`, `secret` and `secret_hash` are for imports only.

    `jwks` (a JWK set, RFC 7517 section 5) or `jwks_uri` is for private_key_jwt and self_signed_tls_client_auth;
    `tls_client_auth` says whom a certificate has to name; `identities`, which statements of trusted issuers prove it
    (federated_jwt, spiffe_jwt, spiffe_x509). None of these has a secret.
    """

    name: str
    kind: Kind = "service"
    description: str = ""
    auth_method: AuthMethod = "client_secret_basic"
    grant_types: tuple[str, ...] = (CLIENT_CREDENTIALS,)
    grants: tuple[Grant, ...] = ()
    role_ids: tuple[str, ...] = ()
    default_api_id: str | None = None
    labels: dict[str, str] = {}
    secret_expires_at: int | None = None
    client_id: str | None = None
    secret: str | None = None
    secret_hash: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    tls_client_auth: CertificateName | None = None
    require_bound: bool = False
    require_dpop: bool = False
    identities: tuple[NewIdentityRule, ...] = ()
    introspection_signed_response_alg: SigningAlgorithm | None = None
    details_types: tuple[str, ...] = ()
    exchange_from: tuple[str, ...] = ()
    may_act: str | None = None
    group_id: str | None = None
    serial: str | None = None
    rate_limit: RateLimit | None = None


async def create_application(desk: Desk, caller: Caller, wanted: NewApplication) -> tuple[Application, str | None]:
    """The application and its secret's text (None when imported, or when it has keys). Raises `Invalid`, `Conflict`."""
    if wanted.jwks_uri is not None:
        await desk.check_address(wanted.jwks_uri, caller.tenant_id)
    application, text = _with_secret(desk, wanted, _application(desk, caller, wanted))
    async with desk.transaction(caller) as tx:
        await check_application(tx, application)
        await check_may_change(tx, caller, application)
        await settle(tx, None, application)
        await tx.applications.add(application)
        _record(tx, desk, caller, application, imported=_is_imported(wanted))
    return application, text


def _is_imported(wanted: NewApplication) -> bool:
    return wanted.client_id is not None or wanted.secret is not None or wanted.secret_hash is not None


def _application(desk: Desk, caller: Caller, wanted: NewApplication) -> Application:
    """The record without its secret. Raises `Invalid`."""
    now = int(desk.clock())
    return Application(
        tenant_id=caller.tenant_id,
        client_id=desk.new_id() if wanted.client_id is None else wanted.client_id,
        name=wanted.name,
        kind=wanted.kind,
        description=wanted.description,
        auth_method=wanted.auth_method,
        grant_types=wanted.grant_types,
        keys=client_keys.read_keys(wanted.jwks, now) if wanted.jwks is not None else (),
        jwks_uri=wanted.jwks_uri,
        tls_client_auth=wanted.tls_client_auth,
        require_bound=wanted.require_bound,
        require_dpop=wanted.require_dpop,
        identities=tuple(new_rule(desk, rule) for rule in wanted.identities),
        introspection_signed_response_alg=wanted.introspection_signed_response_alg,
        details_types=wanted.details_types,
        exchange_from=wanted.exchange_from,
        may_act=wanted.may_act,
        group_id=wanted.group_id,
        serial=wanted.serial,
        rate_limit=wanted.rate_limit,
        grants=wanted.grants,
        role_ids=wanted.role_ids,
        default_api_id=wanted.default_api_id,
        labels=wanted.labels,
        created_at=now,
    )


def _with_secret(desk: Desk, wanted: NewApplication, application: Application) -> tuple[Application, str | None]:
    """The application with its secret, and the text of a new one, if its method has secrets. Raises `Invalid`."""
    if wanted.auth_method in SECRET_METHODS:
        kept, text = _secret(desk, wanted, application)
        return replace(application, secrets=(kept,)), text
    if wanted.secret is not None or wanted.secret_hash is not None:
        raise Invalid(f"{wanted.auth_method} has no secret", field="secret")
    return application, None


def _record(tx: Transaction, desk: Desk, caller: Caller, made: Application, *, imported: bool) -> None:
    """One audit event for the application and one for each of its credentials."""
    said = desk.said(caller)
    created = ApplicationCreated(client_id=made.client_id, name=made.name, imported=imported, **said)
    tx.record(caller.tenant_id, created)
    for secret in made.secrets:
        event = SecretCreated(client_id=made.client_id, secret_id=secret.id, expires_at=secret.expires_at, **said)
        tx.record(caller.tenant_id, event)
    nothing = replace(made, keys=(), identities=())
    record_keys(tx, desk, caller, nothing, made)
    record_identities(tx, desk, caller, nothing, made)


def _secret(desk: Desk, wanted: NewApplication, application: Application) -> tuple[Secret, str | None]:
    fresh, text = desk.new_secret(wanted.secret_expires_at)
    if wanted.secret is not None and wanted.secret_hash is not None:
        raise Invalid("give secret or secret_hash, not both", field="secret_hash")
    if (wanted.secret is not None or wanted.secret_hash is not None) and wanted.client_id is None:
        raise Invalid(
            "an imported secret comes with its client_id; new applications get a generated one",
            field="client_id",
        )
    if wanted.secret is not None:
        if not MIN_SECRET <= len(wanted.secret) <= 1024:
            raise Invalid(
                f"an imported secret has {MIN_SECRET} to 1024 characters: rotate shorter ones", field="secret"
            )
        if wanted.auth_method == "client_secret_jwt" and len(wanted.secret.encode("utf-8", "surrogatepass")) < 32:
            raise Invalid("a secret that signs has at least 32 bytes (RFC 7518 section 3.2)", field="secret")
        kept = replace(fresh, digest=digest(desk.pepper, wanted.secret.encode("utf-8", "surrogatepass")))
        return desk.kept_for(application, kept, wanted.secret), None
    if wanted.secret_hash is not None:
        if wanted.auth_method == "client_secret_jwt":
            raise Invalid("a secret that signs is needed itself; a hash of it verifies nothing", field="secret_hash")
        check_imported_digest(wanted.secret_hash)
        return Secret(
            id=fresh.id,
            digest=wanted.secret_hash,
            created_at=fresh.created_at,
            expires_at=fresh.expires_at,
        ), None
    return desk.kept_for(application, fresh, text), text


async def check_application(tx: Transaction, application: Application) -> None:
    """Check every rule on the final state, whichever verb made it. Raises `Invalid`, `Conflict`."""
    around = await surroundings_of(tx, application.tenant_id)
    application_rules.check_application(application, around)
    check_anchor(application.tls_client_auth, around.tenant.anchors)
