"""`watchword app quarantine|release`: an application that may do nothing until somebody has looked at it."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import say
from ..api_client import AdminClient

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def quarantine(
    client_id: str, reason: Annotated[str, typer.Option(help="Why, for whoever looks at it")] = "", json: Json = False
) -> None:
    """No more tokens, and those it has become inactive, until `release`: for what looks compromised."""
    shown = AdminClient().call("POST", f"/applications/{client_id}/quarantine", {"reason": reason})
    if json:
        return say.data(shown)
    say.done(f"{client_id} is in quarantine")
    return None


def release(client_id: str, json: Json = False) -> None:
    """Undo quarantine; an application that is disabled stays disabled."""
    shown = AdminClient().call("POST", f"/applications/{client_id}/release")
    if json:
        return say.data(shown)
    say.done(f"{client_id} is released")
    return None
