"""`watchword api`: APIs and their scopes over the admin API."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import say
from ..api_client import AdminClient
from ..say import members as _show
from .api_names import api_id_of, details_types_of

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
api = typer.Typer(no_args_is_help=True, help="APIs and their scopes.")


@api.command("create")
def api_create(
    identifier: Annotated[str, typer.Argument(help="The audience, an absolute URI")],
    scope: Annotated[list[str] | None, typer.Option(help="A scope on offer; repeatable")] = None,
    name: Annotated[str, typer.Option(help="For people")] = "",
    format: Annotated[str, typer.Option(help="jwt, opaque, or cwt for small devices")] = "jwt",
    algorithm: Annotated[str, typer.Option(help="ES256, RS256, PS256, EdDSA or ML-DSA-44, -65, -87")] = "ES256",
    type: Annotated[str, typer.Option(help="at+jwt or JWT")] = "at+jwt",
    lifetime: Annotated[int, typer.Option(help="Seconds a token lives")] = 3_600,
    status_list: Annotated[
        bool, typer.Option("--status-list", help="Its JWTs say where their revocation can be looked up")
    ] = False,
    require_bound: Annotated[bool, typer.Option("--require-bound", help="Only tokens that are bound to a key")] = False,
    introspector: Annotated[list[str] | None, typer.Option(help="A client id that may introspect; repeatable")] = None,
    details_type: Annotated[
        list[str] | None,
        typer.Option(help="TYPE=FILE: a type of authorization_details and its JSON schema; repeatable"),
    ] = None,
    signed_introspection: Annotated[
        bool, typer.Option("--signed-introspection", help="Answer its introspectors with signed JWTs only")
    ] = False,
    json: Json = False,
) -> None:
    """Create an API."""
    body = {
        "identifier": identifier, "name": name or identifier, "scopes": [{"name": s} for s in scope or []],
        "tokens": {
            "format": format, "algorithm": algorithm, "type": type, "lifetime": lifetime, "status_list": status_list,
        },
        "introspectors": introspector or [], "require_bound": require_bound,
        "signed_introspection": signed_introspection, "details_types": details_types_of(details_type or []),
    }  # fmt: skip
    _show(AdminClient().create("/apis", body), json, "api_id", "identifier")


@api.command("list")
def api_list(json: Json = False) -> None:
    """List APIs."""
    found = AdminClient().items("/apis")
    if json:
        return say.data(found)
    say.rows(
        [{**a, "scopes": " ".join(s["name"] for s in a["scopes"])} for a in found],
        ["api_id", "identifier", "scopes"],
    )


@api.command("show")
def api_show(api_id: str, json: Json = False) -> None:
    """Show one API."""
    client = AdminClient()
    _show(client.call("GET", f"/apis/{api_id_of(client, api_id)}"), json)


@api.command("delete")
def api_delete(api_id: str) -> None:
    """Delete an API and every grant at it."""
    client = AdminClient()
    client.call("DELETE", f"/apis/{api_id_of(client, api_id)}")
    say.done(f"deleted {api_id}")
