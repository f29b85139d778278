"""`watchword device export`: devices as a list that `device import` reads, or as lines of JSON, without secrets."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Final, Literal

import typer

from .. import say
from ..api_client import AdminClient
from .cells import harmless
from .device_list import LABEL
from .device_selection import selected

COLUMNS: Final = ("serial", "name", "group", "grants", "roles", "auth_method", "jwk")
_PAGE: Final = 500


def export(
    output: Annotated[Path | None, typer.Argument(help="A file [default: standard output]")] = None,
    format: Annotated[
        Literal["csv", "jsonl"], typer.Option(help="csv, as import reads it, or jsonl, with client id and state too")
    ] = "csv",
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE that they have; several: all of them")] = None,
    group: Annotated[str | None, typer.Option(help="The enrolment group that they are in, by name")] = None,
) -> None:
    """Write devices as they are registered, page by page, however many there are."""
    client = AdminClient()
    names = _Names(client)
    count = 0
    with _opened(output) as file, say.counting("devices") as step:
        rows = _CsvRows(file) if format == "csv" else _JsonRows(file)
        for page in selected(client, label or [], group, _PAGE):
            for one in page:
                rows.write(names.row(one), one)
            count += len(page)
            step(len(page))
        rows.finish()
    if output is not None:
        say.done(f"{count} devices in {output}")


class _Names:
    """Ids become the names that a list has."""

    def __init__(self, client: AdminClient) -> None:
        def known(kind: str, id: str, name: str) -> dict[str, str]:
            return {each[id]: each[name] for each in client.items(f"/{kind}", {"limit": _PAGE})}

        self._apis = known("apis", "api_id", "identifier")
        self._roles = known("roles", "role_id", "name")
        self._groups = known("enrolment-groups", "group_id", "name")

    def row(self, one: dict[str, Any]) -> dict[str, str]:
        """A device's cells by column; a group says what its devices may, so they say nothing then."""
        group = self._groups.get(one["group_id"] or "", "")
        grants = [f"{self._apis.get(g['api_id'], g['api_id'])}={','.join(g['scopes'])}" for g in one["grants"]]
        keys = one["jwks"]["keys"] if one["jwks"] is not None else []
        jwk = keys[0] if len(keys) == 1 else {"keys": keys}
        cells = {
            "serial": one["serial"] or "",
            "name": one["name"],
            "group": group,
            "grants": "" if group else " ".join(grants),
            "roles": "" if group else ";".join(self._roles.get(id, id) for id in one["role_ids"]),
            "auth_method": one["auth_method"],
            "jwk": json.dumps(jwk, separators=(",", ":")) if keys else "",
        }
        return {**cells, **{f"{LABEL}{name}": value for name, value in one["labels"].items()}}


class _JsonRows:
    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: dict[str, str], one: dict[str, Any]) -> None:
        """At once."""
        state = {"client_id": one["client_id"], "enabled": one["enabled"], "quarantine": one["quarantine"]}
        self._file.write(json.dumps({**state, **row}, ensure_ascii=False) + "\n")

    def finish(self) -> None:
        """Nothing is left."""


class _CsvRows:
    """The header names every label, so the rows wait on disk until all are known."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._rows = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (closed with the process)
        self._labels: set[str] = set()

    def write(self, row: dict[str, str], _: dict[str, Any]) -> None:
        """Aside."""
        self._labels.update(name for name in row if name.startswith(LABEL))
        self._rows.write(json.dumps(row) + "\n")

    def finish(self) -> None:
        """All of them, behind their header."""
        writer = csv.DictWriter(self._file, [*COLUMNS, *sorted(self._labels)], restval="", lineterminator="\n")
        writer.writeheader()
        self._rows.seek(0)
        for line in self._rows:
            writer.writerow({name: harmless(cell) for name, cell in json.loads(line).items()})
        self._rows.close()


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    try:
        file = output.open("w", newline="", encoding="utf-8")
    except OSError as error:
        say.fail(f"cannot write {output}: {error.strerror}", "name a file that you may write to")
    with file:
        yield file
