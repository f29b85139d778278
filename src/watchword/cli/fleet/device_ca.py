"""`watchword enrolment ca`: the tenant's own authority for the certificates of devices."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from .. import say
from ..api_client import AdminClient

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]

device_ca = typer.Typer(
    no_args_is_help=True, help="The authority that signs certificates of devices (--auth tls_client_auth)."
)
_PATH = "/device-authorities"


@device_ca.command("list")
def list_(json: Json = False) -> None:
    """List the authorities: the active one signs, what a retired one signed still counts."""
    found = AdminClient().items(_PATH)
    if json:
        say.data(found)
        return
    rows = [{**one, "expires": time.strftime("%Y-%m-%d", time.gmtime(one["expires_at"]))} for one in found]
    say.rows(rows, ["authority_id", "state", "expires"])


@device_ca.command("show")
def show() -> None:
    """Print their certificates, PEM: for `serve --client-ca`, and for whoever verifies devices."""
    for one in AdminClient().items(_PATH):
        say.verbatim(one["pem"])


@device_ca.command("rotate")
def rotate(json: Json = False) -> None:
    """Let a new authority sign; the first one is made by itself when it is needed."""
    made = AdminClient().create(_PATH)
    if json:
        say.data(made)
    else:
        say.done(f"{made['authority_id']} signs from now on: `watchword enrolment ca show` prints it")


@device_ca.command("remove")
def remove(authority_id: str) -> None:
    """Believe none of its certificates any more, from now on."""
    AdminClient().call("DELETE", f"{_PATH}/{authority_id}")
    say.done(f"removed {authority_id}")
