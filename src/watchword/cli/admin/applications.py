"""`watchword app`: applications over the admin API."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import profile, say
from ..api_client import AdminClient
from ..say import members as _show
from .api_names import api_id_of, grants_of
from .certificates import read_certificates
from .client_keys import keys, read_jwks
from .identities import Claim, ClaimHas, ClaimIs, ClaimLike, Issuer, identities, read_rule
from .limits import Rate, app_limit, read_rate
from .quarantine import quarantine, release

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
app = typer.Typer(no_args_is_help=True, help="Applications: create, list, show, grant, disable, delete, rotate.")
app.add_typer(keys, name="keys")
app.add_typer(identities, name="identities")
app.command("limit")(app_limit)
app.command("quarantine")(quarantine)
app.command("release")(release)


def state(one: dict[str, Any]) -> str:
    """enabled, disabled or quarantine."""
    if one["quarantine"] is not None:
        return "quarantine"
    return "enabled" if one["enabled"] else "disabled"


@app.command("create")
def app_create(
    name: str,
    kind: Annotated[str, typer.Option(help="service, job or device")] = "service",
    grant: Annotated[list[str] | None, typer.Option(help="API=scope,scope; repeatable")] = None,
    auth: Annotated[
        str,
        typer.Option(
            "--auth",
            "--auth-method",
            help="client_secret_basic, client_secret_post, private_key_jwt, client_secret_jwt, tls_client_auth, "
            "self_signed_tls_client_auth, federated_jwt, spiffe_jwt or spiffe_x509",
        ),
    ] = "client_secret_basic",
    jwks: Annotated[Path | None, typer.Option(help="A file with its public keys, for private_key_jwt")] = None,
    jwks_uri: Annotated[str | None, typer.Option(help="Where its public keys stand, for private_key_jwt")] = None,
    dn: Annotated[str | None, typer.Option(help="Its certificate's subject, for tls_client_auth")] = None,
    san_dns: Annotated[str | None, typer.Option(help="Or a DNS name in its certificate")] = None,
    san_uri: Annotated[str | None, typer.Option(help="Or a URI")] = None,
    san_ip: Annotated[str | None, typer.Option(help="Or an IP address")] = None,
    san_email: Annotated[str | None, typer.Option(help="Or an e-mail address")] = None,
    anchor: Annotated[
        str | None, typer.Option(help="Thumbprint of the only trust anchor that counts, for tls_client_auth")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Its certificate (PEM), for self_signed_tls_client_auth")
    ] = None,
    require_bound: Annotated[
        bool, typer.Option("--require-bound", help="Only tokens that are bound to a key of its own")
    ] = False,
    require_dpop: Annotated[
        bool, typer.Option("--require-dpop", help="The same, by DPoP and not by a certificate")
    ] = False,
    issuer: Issuer = None,
    claim: Claim = None,
    claim_is: ClaimIs = None,
    claim_like: ClaimLike = None,
    claim_has: ClaimHas = None,
    exchange_from: Annotated[
        list[str] | None, typer.Option(help="An API that it serves: it may exchange tokens for it; repeatable")
    ] = None,
    may_act: Annotated[str | None, typer.Option(help="The client id that alone may exchange its tokens")] = None,
    details_type: Annotated[
        list[str] | None, typer.Option(help="A type of authorization_details that it may ask for; repeatable")
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(help="Its client id, for instance a SPIFFE id; else a new one")
    ] = None,
    introspection_alg: Annotated[
        str | None, typer.Option(help="What signs introspection answers to it [default: RS256]")
    ] = None,
    rate: Rate = None,
    json: Json = False,
) -> None:
    """Register an application; its secret, if it has one, is printed once."""
    names = {
        "subject_dn": dn,
        "san_dns": san_dns,
        "san_uri": san_uri,
        "san_ip": san_ip,
        "san_email": san_email,
        "anchor": anchor,
    }
    body = _given(
        name=name,
        kind=kind,
        auth_method=auth,
        client_id=client_id,
        jwks=_public_keys(jwks, certificate),
        jwks_uri=jwks_uri,
        tls_client_auth={name: value for name, value in names.items() if value} or None,
        require_bound=require_bound or None,
        require_dpop=require_dpop or None,
        introspection_signed_response_alg=introspection_alg,
        may_act=may_act,
        details_types=details_type or None,
        rate_limit=None if rate is None else read_rate(rate),
    )
    client = AdminClient()
    rule = read_rule(client, issuer, claim, claim_is, claim_like, claim_has)
    body |= _given(identities=None if rule is None else [rule], grants=grants_of(client, grant or []))
    body |= _exchange(client, exchange_from or [])
    made = client.create("/applications", body)
    _show(made, json, "client_id", *(["client_secret"] if made["client_secret"] else []), "name")


def _given(**members: object) -> dict[str, Any]:
    """What was said; the server decides the rest."""
    return {name: value for name, value in members.items() if value is not None}


def _public_keys(jwks: Path | None, certificate: Path | None) -> dict[str, Any] | None:
    found = None if jwks is None else read_jwks(jwks)
    return found if certificate is None else read_certificates(certificate)


def _exchange(client: AdminClient, apis: list[str]) -> dict[str, Any]:
    """Allow the token exchange (RFC 8693) of tokens that were issued for these APIs."""
    if not apis:
        return {}
    grant_types = ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"]
    return {"exchange_from": [api_id_of(client, one) for one in apis], "grant_types": grant_types}


@app.command("list")
def app_list(json: Json = False) -> None:
    """List applications."""
    found = AdminClient().items("/applications")
    if json:
        say.data(found)
    else:
        say.rows([{**one, "state": state(one)} for one in found], ["client_id", "name", "kind", "state"])


@app.command("show")
def app_show(client_id: str, json: Json = False) -> None:
    """Show one application."""
    _show(AdminClient().call("GET", f"/applications/{client_id}"), json)


@app.command("grant")
def app_grant(
    client_id: str, grant: Annotated[list[str], typer.Argument(help="API=scope,scope")], json: Json = False
) -> None:
    """Set what an application may ask for."""
    client = AdminClient()
    _show(
        client.call("PATCH", f"/applications/{client_id}", {"grants": grants_of(client, grant)}),
        json,
        "client_id",
        "grants",
    )


@app.command("disable")
def app_disable(client_id: str, json: Json = False) -> None:
    """No more tokens, and those it has become inactive."""
    _show(
        AdminClient().call("PATCH", f"/applications/{client_id}", {"enabled": False}),
        json,
        "client_id",
        "enabled",
    )


@app.command("enable")
def app_enable(client_id: str, json: Json = False) -> None:
    """Undo disable."""
    _show(
        AdminClient().call("PATCH", f"/applications/{client_id}", {"enabled": True}),
        json,
        "client_id",
        "enabled",
    )


@app.command("delete")
def app_delete(client_id: str) -> None:
    """Delete an application; its id is never used again."""
    AdminClient().call("DELETE", f"/applications/{client_id}")
    say.done(f"deleted {client_id}")


@app.command("rotate")
def app_rotate(
    client_id: str,
    overlap: Annotated[
        int, typer.Option(help="Seconds for which the older secret still works; 0 cuts it now")
    ] = 86_400,
    json: Json = False,
) -> None:
    """Hand out a new secret, printed once."""
    client = AdminClient()
    made = client.create(f"/applications/{client_id}/secrets", {"overlap": overlap})
    _show(made, json, "client_id", "client_secret")
    for other in made["others"]:
        say.note(ending(other, time.time()))
    if client_id == client.known.client_id:
        _keep_own(client.known.issuer, client_id, made["client_secret"])


def ending(secret: dict[str, Any], now: float) -> str:
    """When an older secret ends, for people."""
    left = int(secret["expires_at"] - now)
    if left <= 0:
        return f"Secret {secret['secret_id']} no longer works."
    at = datetime.fromtimestamp(secret["expires_at"], UTC)
    span = f"{left / 3600:.0f} hours" if left >= 7200 else f"{max(1, left // 60)} minutes"
    return f"Secret {secret['secret_id']} works until {at:%Y-%m-%dT%H:%M:%SZ} (in {span})."


def _keep_own(issuer: str, client_id: str, client_secret: str) -> None:
    """The secret of the profile that made this very call: without it the next command would be the last."""
    name = profile.with_new_secret(issuer, client_id, client_secret)
    if name is not None:
        say.done(f"profile {name} has the new secret")
    else:
        say.warn("this is the application that commands use: put the new secret where its old one came from")
