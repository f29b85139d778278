"""`watchword device`: devices by the thousand, and one of them."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import say
from ..admin.api_names import grants_of
from ..admin.applications import state
from ..admin.client_keys import read_jwks
from ..api_client import AdminClient
from .bundle import HEADER, incomplete, opened
from .device_change import disable, enable, quarantine, release, rotate
from .device_export import export
from .device_import import import_
from .device_selection import labels_of, selected

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
device = typer.Typer(
    no_args_is_help=True,
    help="Devices by the thousand: import a list, find them by label or group, change them at once.",
)
bundle = typer.Typer(no_args_is_help=True, help="Bundles of secrets, encrypted for whoever brings them to the devices.")
device.add_typer(bundle, name="bundle")
device.command("import")(import_)


@device.command("create")
def create(
    serial: Annotated[str, typer.Argument(help="What its manufacturer calls it")],
    name: Annotated[str, typer.Option(help="What people call it [default: the group's pattern, or the serial]")] = "",
    group: Annotated[str | None, typer.Option(help="The enrolment group that says what it may, by name")] = None,
    grant: Annotated[list[str] | None, typer.Option(help="Without a group: API=scope,scope; repeatable")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Without a group: a role's id; repeatable")] = None,
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; repeatable")] = None,
    auth: Annotated[str | None, typer.Option("--auth", "--auth-method", help="How it proves itself")] = None,
    jwks: Annotated[Path | None, typer.Option(help="A file with its public key; else it gets a secret")] = None,
    json: Json = False,
) -> None:
    """Register one device; its secret, if it has one, is printed once."""
    client = AdminClient()
    row: dict[str, Any] = {"serial": serial, "name": name, "labels": labels_of(label or [])}
    row.update({"grants": grants_of(client, grant or []), "role_ids": role or []})
    if group is not None:
        row["group"] = group
    if auth is not None:
        row["auth_method"] = auth
    if jwks is not None:
        row["jwks"] = read_jwks(jwks)
    passing = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")  # nobody asks for this secret again
    made = client.call("POST", "/devices/import", {"rows": [row], "bundle_key": passing})["rows"][0]
    if made["outcome"] == "refused":
        say.fail(f"{made['field']}: {made['reason']}" if made.get("field") else made["reason"])
    if made["outcome"] != "created":
        say.fail(f"there is a device {serial} already", f"see `watchword device show {serial}`")
    shown = {name: made[name] for name in ("serial", "client_id", "client_secret") if name in made}
    say.members(shown, json)


@device.command("list")
def list_(
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE that they have; several: all of them")] = None,
    group: Annotated[str | None, typer.Option(help="The enrolment group that they are in, by name")] = None,
    json: Json = False,
) -> None:
    """List devices: all, those with a label, or those of a group."""
    found = [one for page in selected(AdminClient(), label or [], group, 500) for one in page]
    if json:
        say.data(found)
    else:
        say.rows([{**one, "state": state(one)} for one in found], ["client_id", "serial", "name", "state"])


@device.command("show")
def show(
    which: Annotated[str, typer.Argument(metavar="SERIAL", help="Its serial number, or its client id")],
    json: Json = False,
) -> None:
    """Show one device."""
    client = AdminClient()
    found = client.call("GET", "/devices", query={"serial": which})["items"]
    say.members(found[0] if found else client.call("GET", f"/applications/{which}"), json)


for verb in (disable, enable, quarantine, release, rotate):
    device.command(verb.__name__)(verb)
device.command("export")(export)


@bundle.command("open")
def open_(
    folder: Path,
    identity: Annotated[Path, typer.Option(help="A file with the AGE-SECRET-KEY, as age-keygen writes it")],
) -> None:
    """Print the secrets of a bundle as CSV."""
    if incomplete(folder):
        say.warn("the work on this bundle is not complete: run that command again first, or some devices are missing")
    say.verbatim(",".join(HEADER) + "\n")
    for line in opened(folder, identity):
        say.verbatim(line + "\n")
