"""`watchword tenant issuers`: other issuers whose statements prove applications."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from .. import say
from ..api_client import AdminClient
from .client_keys import read_jwks

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Issuer = Annotated[str, typer.Argument(help="Its URL, its trust domain, or its id")]
Jwks = Annotated[Path | None, typer.Option(help="A file with its public keys (JWK set, SPIFFE bundle)")]
JwksUri = Annotated[str | None, typer.Option(help="Where its keys stand; else its discovery document says so")]
Algorithm = Annotated[list[str] | None, typer.Option(help="What it signs with; repeatable")]
Audience = Annotated[list[str] | None, typer.Option(help="What its tokens are addressed to, if not us; repeatable")]
MaxLife = Annotated[int | None, typer.Option(help="Seconds: the longest life of a token that counts")]
SingleUse = Annotated[
    bool | None, typer.Option("--single-use/--reusable", help="Whether a token works once, or until it expires")
]
issuers = typer.Typer(
    no_args_is_help=True, help="Other issuers whose tokens prove applications: list, show, add, change, remove."
)
_SHOWN = ("issuer_id", "issuer", "kind", "enabled")


def find_issuer(client: AdminClient, named: str) -> dict[str, Any]:
    """The trusted issuer of that URL or id. Exits with 1 when there is none."""
    for known in client.items("/trusted-issuers"):
        if named in (known["issuer"], known["issuer_id"]):
            return known
    _nobody(named)


def _nobody(named: str) -> NoReturn:
    say.fail(f"no issuer {named} is trusted", "see `watchword tenant issuers list`, or add it")


def _said(
    jwks: Path | None, jwks_uri: str | None, algorithm: list[str] | None, audience: list[str] | None,
    max_life: int | None, single_use: bool | None,
) -> dict[str, Any]:  # fmt: skip
    body = {
        "jwks": read_jwks(jwks) if jwks is not None else None, "jwks_uri": jwks_uri, "algorithms": algorithm or None,
        "audiences": audience or None, "max_life": max_life, "single_use": single_use,
    }  # fmt: skip
    return {name: value for name, value in body.items() if value is not None}


def _show(found: dict[str, Any], as_json: bool, *names: str) -> None:
    if as_json:
        return say.data(found)
    for name in names or found:
        say.line(f"{name:12} {found[name]!s}")


@issuers.command("list")
def issuers_list(json: Json = False) -> None:
    """List them."""
    found = AdminClient().items("/trusted-issuers")
    if json:
        say.data(found)
    else:
        say.rows(found, [*_SHOWN, "max_life", "single_use"])


@issuers.command("show")
def issuers_show(issuer: Issuer, json: Json = False) -> None:
    """Show one."""
    _show(find_issuer(AdminClient(), issuer), json)


@issuers.command("add")
def issuers_add(
    issuer: Annotated[str, typer.Argument(help="As its tokens spell it in iss; of spiffe the trust domain")],
    kind: Annotated[str, typer.Option(help="kubernetes, github, gitlab, spiffe or oidc")] = "oidc",
    jwks: Jwks = None,
    jwks_uri: JwksUri = None,
    algorithm: Algorithm = None,
    audience: Audience = None,
    max_life: MaxLife = None,
    single_use: SingleUse = None,
    json: Json = False,
) -> None:
    """Trust an issuer from now on; it proves nobody until an application has an identity rule about it."""
    said = _said(jwks, jwks_uri, algorithm, audience, max_life, single_use)
    made = AdminClient().create("/trusted-issuers", {"issuer": issuer, "kind": kind, **said})
    _show(made, json, *_SHOWN, "algorithms", "max_life", "single_use")


@issuers.command("change")
def issuers_change(
    issuer: Issuer,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether its tokens count")] = None,
    jwks: Jwks = None,
    jwks_uri: JwksUri = None,
    algorithm: Algorithm = None,
    audience: Audience = None,
    max_life: MaxLife = None,
    single_use: SingleUse = None,
    json: Json = False,
) -> None:
    """Change what is believed of it; what is left out stays."""
    client = AdminClient()
    body = _said(jwks, jwks_uri, algorithm, audience, max_life, single_use)
    if enable is not None:
        body["enabled"] = enable
    path = f"/trusted-issuers/{find_issuer(client, issuer)['issuer_id']}"
    _show(client.call("PATCH", path, body), json, *_SHOWN, "algorithms", "max_life", "single_use")


@issuers.command("remove")
def issuers_remove(issuer: Issuer) -> None:
    """Trust it no more, from now on; rules about it hold nothing, also if it is added again."""
    client = AdminClient()
    client.call("DELETE", f"/trusted-issuers/{find_issuer(client, issuer)['issuer_id']}")
    say.done(f"removed {issuer}")
