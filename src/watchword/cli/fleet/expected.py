"""`watchword enrolment expect`: the devices that may come, as a list of serial numbers and keys."""

from __future__ import annotations

import csv
import json as json_
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from .. import say
from ..admin.api_names import group_id_of
from ..api_client import AdminClient
from .cells import original
from .left_out import told_to

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]

BATCH: Final = 1_000
_PATIENCE: Final = 120.0
_COLUMNS: Final = ("serial", "jwk", "thumbprint")
OUTCOMES: Final = ("added", "exists", "enrolled", "refused")
Line = tuple[int, dict[str, Any]]


def expect(
    group: str,
    file: Annotated[Path, typer.Argument(help="CSV with columns serial, jwk, thumbprint: one of them, or more")],
    json: Json = False,
) -> None:
    """List devices that may come into a group. Run it again after any failure: what is there stays."""
    total = sum(1 for _ in _lines(file))  # the whole file is read before any of it is sent
    client = AdminClient(_PATIENCE)
    path = f"/enrolment-groups/{group_id_of(client, group)}/expected"
    counted: Counter[str] = Counter()
    with told_to(None, (), "mend these and run it again") as tell, say.counting("devices", total) as step:
        lines = _lines(file)
        for batch in iter(lambda: list(islice(lines, BATCH)), []):
            results = client.call("POST", path, {"rows": [row for _, row in batch]})["rows"]
            for (line, _), result in zip(batch, results, strict=True):
                counted[result["outcome"]] += 1
                if result["outcome"] == "refused":
                    tell(f"line {line}: {result.get('field', '')}: {result['reason']}", ())
            step(len(batch))
    if json:
        say.data({outcome: counted[outcome] for outcome in OUTCOMES})
    else:
        say.done(", ".join(f"{counted[outcome]} {outcome}" for outcome in OUTCOMES))
    if counted["refused"]:
        raise typer.Exit(say.FAILED)


def expected(group: str, json: Json = False) -> None:
    """List the devices that a group still expects; who has come is not among them."""
    client = AdminClient(_PATIENCE)
    found = client.items(f"/enrolment-groups/{group_id_of(client, group)}/expected", {"limit": 500})
    if json:
        say.data(found)
    else:
        say.rows(found, ["entry", "serial", "key"])


def unexpect(
    group: str,
    serial: Annotated[str | None, typer.Option(help="This one; it may have a key beside it")] = None,
    key: Annotated[str | None, typer.Option(help="The one with this key's thumbprint, and no serial number")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All that have not come yet")] = False,
) -> None:
    """Take devices off a group's list; those that came stay."""
    if (serial is not None) + (key is not None) + everybody != 1:
        say.misuse("say whom", "one of --serial, --key and --all")
    client = AdminClient()
    path = f"/enrolment-groups/{group_id_of(client, group)}/expected"
    entry = f"serial:{serial}" if serial is not None else f"key:{key}"
    client.call("DELETE", path if everybody else f"{path}/{_quoted(entry)}")
    say.done(f"{group} does not expect {'anybody' if everybody else entry} any more")


def _quoted(entry: str) -> str:
    from urllib.parse import quote

    return quote(entry, safe="")


def _lines(file: Path) -> Iterator[Line]:
    """The rows with their line numbers. Exits with 1 at the first that is no row: nothing was sent then."""
    try:
        with file.open(newline="", encoding="utf-8") as text:
            reader = csv.reader(text, strict=True)
            header = next(reader, [])
            if not header or not set(header) <= set(_COLUMNS) or len(set(header)) != len(header):
                say.fail(f"the first line of {file} does not name its columns", f"use {', '.join(_COLUMNS)}")
            for cells in reader:
                if cells:
                    yield reader.line_num, _row(file, reader.line_num, header, cells)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        say.fail(f"cannot read {file}: {error}", "name a CSV file in UTF-8")


def _row(file: Path, line: int, header: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        say.fail(f"{file} line {line}: {len(cells)} columns, and {len(header)} are named", "mend it: nothing was sent")
    row: dict[str, Any] = {
        name: original(cell.strip()) for name, cell in zip(header, cells, strict=True) if cell.strip()
    }
    if "jwk" in row:
        try:
            row["jwk"] = json_.loads(row["jwk"])
        except ValueError:
            row["jwk"] = None
        if not isinstance(row["jwk"], dict):
            say.fail(f"{file} line {line}: jwk is no JSON object", "mend it: nothing was sent")
    return row
