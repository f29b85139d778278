"""`watchword key`: signing keys over the admin API."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import say
from ..api_client import AdminClient
from ..brokers.key_export import key_export

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
key = typer.Typer(no_args_is_help=True, help="Signing keys: list, rotate, withdraw, export.")
key.command("export")(key_export)


@key.command("list")
def key_list(json: Json = False) -> None:
    """List signing keys."""
    found = AdminClient().items("/keys")
    if json:
        say.data(found)
    else:
        say.rows(found, ["kid", "algorithm", "state"])


@key.command("rotate")
def key_rotate(algorithm: Annotated[str, typer.Option(help="Whose key to turn")] = "ES256", json: Json = False) -> None:
    """Turn to the next key."""
    found = AdminClient().call("POST", "/keys/rotate", {"algorithm": algorithm})["items"]
    if json:
        say.data(found)
    else:
        say.rows(found, ["kid", "algorithm", "state"])


@key.command("withdraw")
def key_withdraw(kid: str) -> None:
    """Take a compromised key out at once; its tokens become inactive."""
    AdminClient().call("DELETE", f"/keys/{kid}")
    say.done(f"withdrawn {kid}")
