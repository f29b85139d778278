"""How the command line speaks: people get colours on stderr and tables, scripts get JSON on stdout and exit codes.

Exit codes: 0 done, 1 failed, 2 wrong use; `run` and `curl` have the program's (see `job.py`), and 75 (EX_TEMPFAIL
of sysexits.h) says that nobody answered: try again later.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

FAILED, WRONG_USE, TRY_LATER = 1, 2, 75
_NO_WIDTH = 10_000
_UNUSUAL = re.compile(r"[^\n\t -~]")
"""Everything that has to be looked at before a terminal gets it."""

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def data(value: Any) -> None:
    """JSON for a script. Control characters and direction overrides are escaped, as JSON allows."""
    verbatim(json.dumps(value, indent=2, ensure_ascii=False) + "\n", _escaped_for_json)


def json_line(encoded: bytes) -> None:
    """One JSON document on a line, as it is encoded; escaped like `data`."""
    verbatim(encoded.decode() + "\n", _escaped_for_json)


def verbatim(text: str, escaped: Callable[[str], str] = lambda c: c.encode("unicode_escape").decode()) -> None:
    """Standard output whose every character counts, such as a file; only what a terminal would obey is escaped."""
    sys.stdout.write(_UNUSUAL.sub(lambda m: m[0] if m[0].isprintable() else escaped(m[0]), text))


def _escaped_for_json(character: str) -> str:
    """A JSON escape; two of them for a character beyond the Basic Multilingual Plane."""
    return json.dumps(character)[1:-1] if ord(character) > 0x7E else f"\\u{ord(character):04x}"


def _shown(text: str) -> str:
    """`plain`, and no square bracket of it is read as markup: `[/x]` in a claim or a name would be a crash."""
    return escape(plain(text))


def plain(text: str) -> str:
    """Text from elsewhere, without control characters or direction overrides."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def members(value: dict[str, Any], as_json: bool, *names: str) -> None:
    """One thing: as JSON, or those of its members that have these names, or all."""
    if as_json:
        return data(value)
    for name in names or value.keys():
        out.print(f"{name:16} {plain(str(value[name]))}", markup=False)


def rows(items: list[dict[str, Any]], columns: list[str]) -> None:
    """A table for a person. An id is never cut short: a narrow terminal folds it, and a pipe has no width."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for item in items:
        table.add_row(*(_shown(str(item.get(name, "") if item.get(name) is not None else "-")) for name in columns))
    wide = out if out.is_terminal else Console(file=sys.stdout, highlight=False, width=_NO_WIDTH)
    wide.print(table)


def line(text: str) -> None:
    """A line of the answer, on standard output."""
    out.print(plain(text), markup=False)


def heading(text: str) -> None:
    """A heading within the answer."""
    out.print(plain(text), style="bold", markup=False)


def note(text: str) -> None:
    """A line beside the answer, on standard error."""
    err.print(f"  {plain(text)}", markup=False)


def done(text: str) -> None:
    """A step that succeeded."""
    err.print(f"[green]✓[/green] {_shown(text)}")


def bad(text: str) -> None:
    """A finding, one of several; the command goes on."""
    err.print(f"[red]✗[/red] {_shown(text)}")


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """How far long work has come, when a person looks on; call it with each step's number."""
    bar = (BarColumn(), TimeRemainingColumn()) if total is not None else ()
    columns = (TextColumn("{task.completed} " + what), *bar, TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        task = shown.add_task(what, total=total)
        yield lambda count: shown.advance(task, count)


def warn(text: str) -> None:
    """What a person should know, and what stops nothing."""
    err.print(f"[yellow]![/yellow] {_shown(text)}")


def fail(text: str, hint: str = "", code: int = FAILED) -> NoReturn:
    """Exit with ``code``, saying what to do next."""
    err.print(f"[red]✗[/red] {_shown(text)}")
    if hint:
        err.print(f"  {_shown(hint)}")
    raise typer.Exit(code)


def misuse(text: str, hint: str = "") -> NoReturn:
    """Exit 2: the command line is wrong, not the world."""
    fail(text, hint, WRONG_USE)
