"""`watchword role`: roles over the admin API."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import say
from ..api_client import AdminClient
from ..say import members as _show
from .api_names import grants_of

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
role = typer.Typer(no_args_is_help=True, help="Roles: named sets of scopes.")


@role.command("create")
def role_create(
    name: str,
    grant: Annotated[list[str] | None, typer.Option(help="API=scope,scope")] = None,
    json: Json = False,
) -> None:
    """Create a role."""
    client = AdminClient()
    _show(
        client.create("/roles", {"name": name, "access": grants_of(client, grant or [])}),
        json,
        "role_id",
        "name",
    )


@role.command("list")
def role_list(json: Json = False) -> None:
    """List roles."""
    found = AdminClient().items("/roles")
    if json:
        say.data(found)
    else:
        say.rows(found, ["role_id", "name", "description"])


@role.command("delete")
def role_delete(role_id: str) -> None:
    """Delete a role."""
    AdminClient().call("DELETE", f"/roles/{role_id}")
    say.done(f"deleted {role_id}")


@role.command("assign")
def role_assign(
    client_id: str,
    role_id: Annotated[list[str], typer.Argument(help="All roles it shall have")],
    json: Json = False,
) -> None:
    """Set the roles of an application."""
    _show(
        AdminClient().call("PATCH", f"/applications/{client_id}", {"role_ids": role_id}),
        json,
        "client_id",
        "role_ids",
    )
