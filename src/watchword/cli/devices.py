"""`watchword device`: devices by the thousand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import say
from .api_client import AdminClient
from .bundle import HEADER, incomplete, opened
from .device_import import import_
from .registry import state

device = typer.Typer(
    no_args_is_help=True, help="Devices by the thousand: import a list, open its bundle, find them by label."
)
bundle = typer.Typer(no_args_is_help=True, help="Bundles of secrets, encrypted for whoever brings them to the devices.")
device.add_typer(bundle, name="bundle")
device.command("import")(import_)


@device.command("list")
def list_(
    label: Annotated[str | None, typer.Option(help="NAME=VALUE that they have")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """List devices, all or those with a label."""
    query = {"limit": 500, **({"label": label} if label is not None else {})}
    found = [one for one in AdminClient().items("/devices", query) if one["kind"] == "device"]
    if json:
        say.data(found)
    else:
        say.rows([{**one, "state": state(one)} for one in found], ["client_id", "serial", "name", "state"])


@bundle.command("open")
def open_(
    folder: Path,
    identity: Annotated[Path, typer.Option(help="A file with the AGE-SECRET-KEY, as age-keygen writes it")],
) -> None:
    """Print the secrets of a bundle as CSV."""
    if incomplete(folder):
        say.warn("the import into this bundle is not complete: run it again first, or some devices are missing here")
    sys.stdout.write(",".join(HEADER) + "\n")
    for line in opened(folder, identity):
        sys.stdout.write(line + "\n")
