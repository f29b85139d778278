"""`--rate` and `watchword app limit`: how many tokens somebody may be given."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from .. import say
from ..api_client import AdminClient

HELP = "Tokens at most: 10/s, 600/min or 100/h, and with :BURST how many at once; none for no limit"
Rate = Annotated[str | None, typer.Option("--rate", help=HELP)]
_SECONDS = {"s": 1, "min": 60, "h": 3_600}


def read_rate(text: str) -> dict[str, Any] | None:
    """`rate_limit` as the admin API has it. Without a burst it is what comes in a second, and at least one."""
    if text == "none":
        return None
    rate, _, burst = text.partition(":")
    count, _, unit = rate.partition("/")
    try:
        per_second = float(count) / _SECONDS[unit]
        return {"per_second": per_second, "burst": int(burst) if burst else max(1, math.ceil(per_second))}
    except (KeyError, ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no rate: use 10/s, 600/min, 100/h, 10/s:50 or none") from None


def shown(limit: dict[str, Any] | None) -> str:
    """For people."""
    return f"{limit['per_second']:g}/s, {limit['burst']} at once" if limit else "none"


def app_limit(
    client_id: str,
    rate: Annotated[str, typer.Argument(help=HELP)],
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Set how many tokens an application may be given; what it asks for beyond is answered 429."""
    changed = AdminClient().call("PATCH", f"/applications/{client_id}", {"rate_limit": read_rate(rate)})
    if json:
        say.data(changed)
    else:
        say.done(f"{client_id}: limit {shown(changed['rate_limit'])}")
