"""A list of devices as CSV (RFC 4180): read line by line, and checked as a whole before any of it is sent."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .cells import original

COLUMNS: Final = ("serial", "name", "group", "grants", "roles", "auth_method", "jwk", "reason")
"""`label:NAME` beside them; `reason` is what a report of refused rows adds, so that it can be mended and sent again."""
LABEL: Final = "label:"
SECRETS: Final = ("client_secret_basic", "client_secret_post", "client_secret_jwt")
_MOST: Final = 20
"""Mistakes that are told of one file."""


class BadLine(Exception):
    """A line that cannot be read; `line` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")


@dataclass(frozen=True)
class Row:
    """One device: where it stands, its cells as they stand there, and what the admin API is asked."""

    line: int
    cells: list[str]
    body: dict[str, Any]


@dataclass
class Checked:
    """What is known of a whole file."""

    header: list[str]
    sha256: str
    rows: int = 0
    mistakes: list[str] = field(default_factory=list)
    needing_secrets: int = 0
    first_needing: int = 0


def check_file(path: Path) -> Checked:
    """Every line's form, and that no serial number stands twice. Raises `OSError`, and `BadLine` for the header."""
    header, rows = read_rows(path)
    found = Checked(header, "")
    seen: dict[str, int] = {}
    for row in rows:
        if isinstance(row, BadLine):
            found.mistakes.append(str(row))
            if len(found.mistakes) == _MOST:
                break
            continue
        found.rows += 1
        serial = row.body["serial"]
        if serial and seen.setdefault(serial, row.line) != row.line:
            found.mistakes.append(f"line {row.line}: the serial number of line {seen[serial]}")
        if "jwks" not in row.body and row.body.get("auth_method", SECRETS[0]) in SECRETS:
            found.needing_secrets += 1
            found.first_needing = found.first_needing or row.line
    with path.open("rb") as file:
        found.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def read_rows(
    path: Path, apis: Mapping[str, str] | None = None, roles: Mapping[str, str] | None = None
) -> tuple[list[str], Iterator[Row | BadLine]]:
    """The header, and the rows as they are asked for. Names of APIs and roles become the ids that these know.

    Raises `OSError`, and `BadLine` for the header.
    """
    reader = csv.reader(_lines(path), strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise BadLine(1, f"no CSV: {error}") from None
    for name in header:
        if header.count(name) > 1:
            raise BadLine(1, f"the column {name!r} stands there twice")
        if name not in COLUMNS and not (name.startswith(LABEL) and len(name) > len(LABEL)):
            raise BadLine(1, f"there is no column {name!r}: use {', '.join(COLUMNS[:-1])}, {LABEL}NAME")
    if "serial" not in header:
        raise BadLine(1, "the first line names the columns, and one of them is serial")
    return header, _rows(reader, header, apis or {}, roles or {})


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise BadLine(number, "not UTF-8") from None


def _rows(reader: Any, header: list[str], apis: Mapping[str, str], roles: Mapping[str, str]) -> Iterator[Row | BadLine]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
            if cells is None:
                return
            if not cells:
                continue
            if len(cells) != len(header):
                raise BadLine(line, f"{len(cells)} cells, and there are {len(header)} columns")
            meant = dict(zip(header, map(original, cells), strict=True))
            yield Row(line, cells, _body(line, meant, apis, roles))
        except BadLine as error:
            yield error
            if "not UTF-8" in str(error):
                return
        except csv.Error as error:
            yield BadLine(line, f"no CSV: {error}")
            return


def _body(line: int, cells: dict[str, str], apis: Mapping[str, str], roles: Mapping[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {"serial": cells["serial"]}
    for name in ("name", "group", "auth_method"):
        if cells.get(name):
            body[name] = cells[name]
    if cells.get("grants"):
        body["grants"] = [_grant(line, text, apis) for text in cells["grants"].split()]
    if cells.get("roles"):
        named = [name.strip() for name in cells["roles"].split(";")]
        body["role_ids"] = [roles.get(name, name) for name in named if name]
    if cells.get("jwk"):
        body["jwks"] = _jwks(line, cells["jwk"])
    labels = {name[len(LABEL) :]: value for name, value in cells.items() if name.startswith(LABEL) and value}
    if labels:
        body["labels"] = labels
    return body


def _grant(line: int, text: str, apis: Mapping[str, str]) -> dict[str, Any]:
    api, equals, scopes = text.rpartition("=")
    if not equals or not api:
        raise BadLine(line, f"grants {text[:100]!r}: write API=scope,scope, and a space before the next API")
    return {"api_id": apis.get(api, api), "scopes": [scope for scope in scopes.split(",") if scope]}


def _jwks(line: int, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadLine(line, "jwk is not JSON") from None
    if not isinstance(found, dict):
        raise BadLine(line, "jwk is not a JSON object")
    return found if "keys" in found else {"keys": [found]}
