"""`watchword device import`: a list of devices, checked as a whole, then registered batch by batch."""

from __future__ import annotations

import base64
import os
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from .. import say
from ..api_client import AdminClient, Refused
from .bundle import Bundle, begin, secrets_of
from .device_list import BadLine, Checked, Row, check_file, read_rows
from .left_out import told_to
from .patience import Patience, Seconds

BATCH: Final = 500
"""Rows a request: half a second of a slow server."""
IN_FLIGHT: Final = 2
_TIMEOUT: Final = 120.0
OUTCOMES: Final = ("created", "exists", "differs", "refused")

Answer = list[dict[str, Any]]


def import_(
    file: Annotated[Path, typer.Argument(help="CSV: serial, name, group, grants, roles, auth_method, jwk, label:NAME")],
    bundle: Annotated[Path | None, typer.Option(help="A folder for the secrets, encrypted with age")] = None,
    recipient: Annotated[list[str] | None, typer.Option(help="Who can open it: age1...; repeatable")] = None,
    report: Annotated[Path | None, typer.Option(help="A file for the rows that were refused, with the reason")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge every row and change nothing")] = False,
    patience: Seconds = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Register many devices. Run it again after any failure: what is there already stays as it is."""
    checked = _checked(file)
    if checked.needing_secrets and bundle is None and not dry_run:
        say.misuse(
            f"{checked.needing_secrets} devices need a secret, the first in line {checked.first_needing}",
            "say --bundle FOLDER --recipient age1..., or give their public keys in the column jwk",
        )
    client = AdminClient(_TIMEOUT)
    kept = begin(bundle, recipient or [], checked.sha256) if bundle is not None and not dry_run else None
    counted: Counter[str] = Counter()
    columns = [number for number, name in enumerate(checked.header) if name != "reason"]
    header = [*(checked.header[number] for number in columns), "reason"]
    with told_to(report, header) as tell, say.counting("devices", checked.rows) as step:
        asking = {"dry_run": dry_run, "bundle_key": kept.key if kept is not None else _passing() if dry_run else None}
        for number, rows, results in _answers(client, Patience(client, patience), file, asking):
            if kept is not None:
                kept.write(number, secrets_of(results))
            for row, result in zip(rows, results, strict=True):
                counted[result["outcome"]] += 1
                if result["outcome"] in ("differs", "refused"):
                    why = f"{result['field']}: {result['reason']}" if result.get("field") else result["reason"]
                    tell(f"line {row.line}: {why}", [*(row.cells[number] for number in columns), why])
            step(len(rows))
    if kept is not None:
        kept.finish()
    _tell(counted, kept, report, dry_run, json)


def _checked(file: Path) -> Checked:
    try:
        checked = check_file(file)
    except (OSError, BadLine) as error:
        say.fail(f"cannot read {file}: {error}", "nothing was registered")
    for mistake in checked.mistakes:
        say.warn(mistake)
    if checked.mistakes:
        say.fail(f"{file} has mistakes", "nothing was registered: mend the file and run this again")
    return checked


def _passing() -> str:
    """A dry run keeps no secret; the server has to see a key to judge as it would."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def _answers(
    client: AdminClient, patience: Patience, file: Path, asking: dict[str, Any]
) -> Iterator[tuple[int, list[Row], Answer]]:
    """Batch after batch, in the file's order; the next ones are on their way meanwhile."""
    _, rows = read_rows(file, _ids(client, "apis", "identifier", "api_id"), _ids(client, "roles", "name", "role_id"))
    whole = (row for row in rows if isinstance(row, Row))
    waiting: deque[tuple[int, list[Row], Future[Answer]]] = deque()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        try:
            for number, batch in enumerate(iter(lambda: list(islice(whole, BATCH)), []), 1):
                body = {"rows": [row.body for row in batch], **asking}
                waiting.append((number, batch, pool.submit(_ask, patience, body)))
                if len(waiting) == IN_FLIGHT:
                    first, sent, answer = waiting.popleft()
                    yield first, sent, answer.result()
            for first, sent, answer in waiting:
                yield first, sent, answer.result()
        except Refused as refused:
            say.warn("the import stopped: run the same command again, and it goes on")
            say.fail(refused.text, refused.hint)
        finally:
            patience.end()
            pool.shutdown(wait=False, cancel_futures=True)


def _ask(patience: Patience, body: dict[str, Any]) -> Answer:
    return list(patience.ask("POST", "/devices/import", body)["rows"])


def _ids(client: AdminClient, kind: str, name: str, id: str) -> dict[str, str]:
    return {each[name]: each[id] for each in client.items(f"/{kind}", {"limit": 500})}


def _tell(counted: Counter[str], kept: Bundle | None, report: Path | None, dry_run: bool, json: bool) -> None:
    if json:
        said: dict[str, Any] = {outcome: counted[outcome] for outcome in OUTCOMES}
        said["bundle"] = str(kept.folder) if kept is not None else None
        say.data(said)
    else:
        say.done(", ".join(f"{counted[outcome]} {outcome}" for outcome in OUTCOMES) + (" (dry run)" if dry_run else ""))
    if counted["refused"] or counted["differs"]:
        if report is not None:
            say.warn(f"{report} has the rows that were not registered, with the reason: mend them and import it")
        raise typer.Exit(say.FAILED)
