"""`watchword registration`: the initial access tokens with which applications register themselves."""

from __future__ import annotations

import json as json_
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import say
from ..api_client import AdminClient
from .api_names import grants_of, group_id_of
from .applications import Json

registration = typer.Typer(
    no_args_is_help=True, help="Let applications register themselves (RFC 7591): initial access tokens and policies."
)


@registration.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is for, as you will find it in the list")],
    grant: Annotated[list[str] | None, typer.Option(help="API=scope,scope that they may have at most")] = None,
    uses: Annotated[int, typer.Option(help="How many applications may register with it")] = 1,
    expires_in: Annotated[int, typer.Option(help="Seconds until it expires")] = 86_400,
    kind: Annotated[str, typer.Option(help="What they become: service, job or device")] = "service",
    auth: Annotated[list[str] | None, typer.Option(help="How they may authenticate; may be given again")] = None,
    name_prefix: Annotated[str, typer.Option(help="Stands before their names")] = "",
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE that they get")] = None,
    secret_lifetime: Annotated[int | None, typer.Option(help="Seconds that their secrets live")] = None,
    require_bound: Annotated[bool, typer.Option("--require-bound", help="Only bound tokens for them")] = False,
    publisher: Annotated[
        list[str] | None, typer.Option(help="ISSUER=FILE with the JWK set that verifies its software statements")
    ] = None,
    statement_required: Annotated[
        bool, typer.Option("--statement-required", help="Nobody registers without a software statement")
    ] = False,
    one_per_software: Annotated[
        bool, typer.Option("--one-per-software", help="A software_id registers once in this tenant")
    ] = False,
    group: Annotated[
        str | None, typer.Option(help="An enrolment group, which says what they become (--way registration)")
    ] = None,
    json: Json = False,
) -> None:
    """Make an initial access token; it is printed once."""
    client = AdminClient()
    policy: dict[str, Any] = {
        "kind": kind, "grants": grants_of(client, grant or []), "name_prefix": name_prefix,
        "labels": dict(_pair(one, "--label") for one in label or []), "secret_lifetime": secret_lifetime,
        "require_bound": require_bound, "statement_required": statement_required,
        "one_per_software": one_per_software,
        "publishers": [
            {"issuer": issuer, "jwks": _jwks(Path(file))}
            for issuer, file in (_pair(one, "--publisher") for one in publisher or [])
        ],
    }  # fmt: skip
    if auth:
        policy["auth_methods"] = auth
    body: dict[str, Any] = {"name": name, "uses": uses, "expires_in": expires_in, "policy": policy}
    if group is not None:
        body["group_id"] = group_id_of(client, group)
    made = client.create("/initial-tokens", body)
    if json:
        say.data(made)
    else:
        say.rows([{**made, "expires": _date(made["expires_at"])}], ["token_id", "token", "uses_left", "expires"])


@registration.command("list")
def list_(json: Json = False) -> None:
    """List them, also those that are used up."""
    found = AdminClient().items("/initial-tokens")
    if json:
        say.data(found)
        return
    rows = [{**one, "expires": _date(one["expires_at"]), "state": _state(one)} for one in found]
    say.rows(rows, ["token_id", "name", "state", "uses_left", "expires"])


@registration.command("revoke")
def revoke(token_id: str) -> None:
    """Nobody registers with it any more; applications that did stay as they are."""
    AdminClient().call("DELETE", f"/initial-tokens/{token_id}")
    say.done(f"revoked {token_id}")


def _state(one: dict[str, Any]) -> str:
    if one["revoked_at"] is not None:
        return "revoked"
    if one["uses_left"] == 0:
        return "used up"
    return "expired" if one["expires_at"] <= time.time() else "open"


def _date(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=") if option == "--publisher" else text.partition("=")
    if not equals or not name:
        say.misuse(f"{option} {text!r} has no '='", f"write {option} NAME=VALUE")
    return name, value


def _jwks(path: Path) -> dict[str, Any]:
    try:
        found = json_.loads(path.read_text())
    except (OSError, ValueError):
        say.fail(f"cannot read {path} as JSON", 'name a file that holds a JWK set: {"keys": [...]}')
    return found if isinstance(found, dict) and "keys" in found else {"keys": [found]}
