"""`watchword device disable|enable|quarantine|release|rotate`: many devices at once, a batch at a time."""

from __future__ import annotations

import hashlib
import json as text
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from .. import say
from ..api_client import AdminClient, Refused
from .bundle import Bundle, begin, secrets_of
from .device_selection import labels_of
from .left_out import told_to
from .patience import Patience, Seconds

BATCH: Final = 250
"""Devices a request: tokens wait for less than a tenth of a second."""
ASK_ABOVE: Final = 10
"""Devices that may be changed without asking first."""
_TIMEOUT: Final = 120.0
_COLUMNS: Final = ("serial", "client_id", "outcome", "reason")
OUTCOMES: Final = ("changed", "unchanged", "skipped", "refused", "missing")
DONE: Final = {
    "disable": "disabled", "enable": "enabled", "quarantine": "in quarantine", "release": "released",
    "rotate": "rotated",
}  # fmt: skip

Serials = Annotated[list[str] | None, typer.Argument(metavar="[SERIAL]...", help="Serial numbers")]
Label = Annotated[list[str] | None, typer.Option(help="NAME=VALUE that they have; several: all of them")]
Group = Annotated[str | None, typer.Option(help="The enrolment group that they are in, by name")]
File = Annotated[Path | None, typer.Option(help="A file of serial numbers, one a line")]
Report = Annotated[Path | None, typer.Option(help="A CSV file for those that were not changed, with the reason")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help=f"Do not ask, also when it concerns more than {ASK_ABOVE}")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Judge each and change nothing")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def disable(
    serial: Serials = None, label: Label = None, group: Group = None, file: File = None, report: Report = None,
    yes: Yes = False, dry_run: DryRun = False, patience: Seconds = 60.0, json: Json = False,
) -> None:  # fmt: skip
    """No more tokens for these devices, and those they have become inactive at once."""
    _Change("disable", _selection(serial, label, group, file), report, yes, dry_run, patience, json).run({})


def enable(
    serial: Serials = None, label: Label = None, group: Group = None, file: File = None, report: Report = None,
    yes: Yes = False, dry_run: DryRun = False, patience: Seconds = 60.0, json: Json = False,
) -> None:  # fmt: skip
    """Undo disable."""
    _Change("enable", _selection(serial, label, group, file), report, yes, dry_run, patience, json).run({})


def quarantine(
    serial: Serials = None, label: Label = None, group: Group = None, file: File = None,
    reason: Annotated[str, typer.Option(help="Why, for whoever looks at them")] = "", report: Report = None,
    yes: Yes = False, dry_run: DryRun = False, patience: Seconds = 60.0, json: Json = False,
) -> None:  # fmt: skip
    """No tokens until `release`: for what looks compromised. Whether it is enabled stays as it was."""
    change = _Change("quarantine", _selection(serial, label, group, file), report, yes, dry_run, patience, json)
    change.run({"reason": reason})


def release(
    serial: Serials = None, label: Label = None, group: Group = None, file: File = None, report: Report = None,
    yes: Yes = False, dry_run: DryRun = False, patience: Seconds = 60.0, json: Json = False,
) -> None:  # fmt: skip
    """Undo quarantine; a device that is disabled stays disabled."""
    _Change("release", _selection(serial, label, group, file), report, yes, dry_run, patience, json).run({})


def rotate(
    serial: Serials = None, label: Label = None, group: Group = None, file: File = None,
    bundle: Annotated[Path | None, typer.Option(help="A folder for the new secrets, encrypted with age")] = None,
    recipient: Annotated[list[str] | None, typer.Option(help="Who can open it: age1...; repeatable")] = None,
    overlap: Annotated[int, typer.Option(help="Seconds for which the older secret still works; 0: none")] = 86_400,
    report: Report = None, yes: Yes = False, dry_run: DryRun = False, patience: Seconds = 60.0, json: Json = False,
) -> None:  # fmt: skip
    """Hand out new secrets, into a bundle. Devices that prove themselves by a key are skipped and told."""
    if bundle is None and not dry_run:
        say.misuse("new secrets are told once and need a place", "say --bundle FOLDER --recipient age1...")
    change = _Change("rotate", _selection(serial, label, group, file), report, yes, dry_run, patience, json)
    change.run({"overlap": overlap}, bundle, recipient or [])


def _selection(
    serials: list[str] | None, labels: list[str] | None, group: str | None, file: Path | None
) -> dict[str, Any]:
    """What the admin API is asked for. Exits with 2 unless exactly one way is used."""
    named = _serials(serials or [], file)
    chosen: dict[str, Any] = {"labels": labels_of(labels)} if labels else {}
    if group is not None:
        chosen["group"] = group
    if bool(named) == bool(chosen):
        say.misuse(
            "which devices?" if not named else "serial numbers, or labels and a group, and not both",
            "say --label NAME=VALUE, --group GROUP, --file SERIALS, or serial numbers",
        )
    return chosen or {"serials": named}


def _serials(given: list[str], file: Path | None) -> list[str]:
    lines: list[str] = []
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            say.fail(f"cannot read {file}: {error}", "name a text file with a serial number on each line")
        if not any(lines):
            say.fail(f"{file} has no serial numbers", "write one on each line")
    return list(dict.fromkeys([*given, *(line for line in lines if line)]))


class _Change:
    """One command."""

    def __init__(
        self, action: str, selection: dict[str, Any], report: Path | None, yes: bool, dry_run: bool, patience: float,
        json: bool,
    ) -> None:  # fmt: skip
        self._action, self._selection, self._report, self._yes = action, selection, report, yes
        self._dry_run, self._json = dry_run, json
        self._patience = Patience(AdminClient(_TIMEOUT), patience)

    def run(self, given: dict[str, Any], bundle: Path | None = None, recipients: list[str] | None = None) -> None:
        """Count, ask, change, tell."""
        try:
            total = self._counted()
            if total > ASK_ABOVE and not (self._yes or self._dry_run):
                self._confirm(total)
            kept = None
            if bundle is not None and not self._dry_run:
                kept = begin(bundle, recipients or [], self._source(given))
                given = {**given, "bundle_key": kept.key}
            counted = self._walked(given, total, kept)
        except Refused as refused:
            say.warn(f"the {self._action} stopped: run the same command again, and it goes on")
            say.fail(refused.text, refused.hint)
        if kept is not None:
            kept.finish()
        self._tell(counted, kept)

    def _counted(self) -> int:
        """How many it concerns. Exits with 1 when there are none: a mistyped label should not look like success."""
        if "serials" in self._selection:
            return len(self._selection["serials"])
        look = {"action": self._action, **self._selection, "dry_run": True, "limit": 1}
        total = int(self._patience.ask("POST", "/devices/bulk", look)["selected"])
        if not total:
            say.fail("no device is selected by that", "see `watchword device list`")
        return total

    def _confirm(self, total: int) -> None:
        if not sys.stdin.isatty():
            say.misuse(f"this concerns {total} devices", "say --yes if it shall, or --dry-run for a look")
        if not typer.confirm(f"{self._action} {total} devices?", err=True):
            say.fail("nothing was changed")

    def _source(self, given: dict[str, Any]) -> str:
        """The same for the same work, so that an interrupted one is found again."""
        return hashlib.sha256(text.dumps([self._action, self._selection, given], sort_keys=True).encode()).hexdigest()

    def _walked(self, given: dict[str, Any], total: int, kept: Bundle | None) -> Counter[str]:
        counted: Counter[str] = Counter()
        number = kept.next_number() if kept is not None else 1
        with told_to(self._report, _COLUMNS) as tell, say.counting("devices", total) as step:
            for rows in self._batches({**given, "dry_run": self._dry_run}):
                if kept is not None:
                    kept.write(number, secrets_of(rows))
                    number += 1
                for row in rows:
                    counted[row["outcome"]] += 1
                    if row["outcome"] not in ("changed", "unchanged"):
                        why = _reason(row)
                        sentence = f"{row['serial'] or row['client_id']} {row['outcome']}: {why}"
                        tell(sentence, [row["serial"], row["client_id"], row["outcome"], why])
                step(len(rows))
        return counted

    def _batches(self, given: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        body = {"action": self._action, **self._selection, **given, "limit": BATCH}
        serials: list[str] = self._selection.get("serials", [])
        for start in range(0, len(serials), BATCH):
            part = {**body, "serials": serials[start : start + BATCH]}
            yield self._patience.ask("POST", "/devices/bulk", part)["rows"]
        while not serials:
            batch = self._patience.ask("POST", "/devices/bulk", body)
            yield batch["rows"]
            if batch["next"] is None:
                return
            body["cursor"] = batch["next"]

    def _tell(self, counted: Counter[str], kept: Bundle | None) -> None:
        if self._json:
            said: dict[str, Any] = {"action": self._action, "dry_run": self._dry_run}
            said.update({outcome: counted[outcome] for outcome in OUTCOMES})
            said["bundle"] = str(kept.folder) if kept is not None else None
            say.data(said)
        else:
            words = [f"{counted['changed']} {DONE[self._action]}"]
            words += [f"{counted[name]} {name}" for name in OUTCOMES[1:] if counted[name]]
            say.done(", ".join(words) + (" (dry run: nothing was changed)" if self._dry_run else ""))
        if counted["refused"] or counted["missing"]:
            raise typer.Exit(say.FAILED)


def _reason(row: dict[str, Any]) -> str:
    return str(row.get("reason") or "there is no device with this serial number")
