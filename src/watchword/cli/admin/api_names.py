"""APIs as people name them on the command line, and what they say of them, as the admin API wants it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from .. import say
from ..api_client import AdminClient


def api_id_of(client: AdminClient, identifier: str) -> str:
    """By identifier or id. Exits with 1 when there is none."""
    for known in client.items("/apis", {"name": identifier}):
        if identifier in (known["identifier"], known["api_id"]):
            return str(known["api_id"])
    say.fail(f"there is no API {identifier}", "see `watchword api list`")


def group_id_of(client: AdminClient, group: str) -> str:
    """By name or id. Exits with 1 when there is none."""
    for known in client.items("/enrolment-groups"):
        if group in (known["name"], known["group_id"]):
            return str(known["group_id"])
    say.fail(f"there is no enrolment group {group}", "see `watchword enrolment list`")


def grants_of(client: AdminClient, grants: list[str]) -> list[dict[str, Any]]:
    """`identifier=scope,scope` as the admin API wants it."""
    made = []
    for text in grants:
        identifier, _, scopes = text.rpartition("=")
        if not identifier:
            raise typer.BadParameter(f"{text}: write API=scope,scope")
        made.append({"api_id": api_id_of(client, identifier), "scopes": [s for s in scopes.split(",") if s]})
    return made


def details_types_of(types: list[str]) -> list[dict[str, Any]]:
    """`TYPE=FILE`, where the file holds a JSON schema."""
    made = []
    for text in types:
        name, _, file = text.rpartition("=")
        if not name:
            raise typer.BadParameter(f"{text}: write TYPE=FILE")
        try:
            made.append({"name": name, "schema": json.loads(Path(file).read_text())})
        except (OSError, ValueError):
            say.fail(f"cannot read {file} as JSON", "name a file that holds a JSON schema of an object")
    return made
