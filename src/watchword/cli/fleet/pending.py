"""`watchword enrolment pending`, `approve`, `deny`: devices that an administrator looks at before they come in."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from .. import say
from ..admin.api_names import group_id_of
from ..api_client import AdminClient

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]

Ids = Annotated[list[str], typer.Argument(metavar="PENDING_ID...", help="As `watchword enrolment pending` lists them")]


def pending(
    group: Annotated[str | None, typer.Argument(help="Of this group only, by name or id")] = None,
    state: Annotated[str, typer.Option(help="waiting, approved (and not come yet) or denied")] = "waiting",
    json: Json = False,
) -> None:
    """List devices that wait for approval, the oldest first."""
    client = AdminClient()
    query = {"state": state, "limit": 500, **({"group_id": group_id_of(client, group)} if group else {})}
    found = client.items("/enrolments", query)
    if json:
        say.data(found)
        return
    rows = [{**one, "since": time.strftime("%Y-%m-%d %H:%M", time.gmtime(one["requested_at"]))} for one in found]
    say.rows(rows, ["pending_id", "serial", "way", "key", "source", "since"])


def approve(pending_ids: Ids) -> None:
    """Let devices in; each gets its identity when it asks again."""
    client = AdminClient()
    for one in pending_ids:
        client.call("POST", f"/enrolments/{one}/approve")
        say.done(f"approved {one}")


def deny(pending_ids: Ids) -> None:
    """Turn devices away for good."""
    client = AdminClient()
    for one in pending_ids:
        client.call("POST", f"/enrolments/{one}/deny")
        say.done(f"denied {one}")
