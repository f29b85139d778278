"""`watchword device` over many devices: asked before it changes them, and told what became of each."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyrage
import pytest
from tests.support.served import COMMAND, environment, serving, watchword

from watchword.jose import Algorithm, PrivateKey

API = "https://telemetry.example"
COUNT = 300
"""More than one batch."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder and the base of a server with `COUNT` devices, one of which has a key, and a group with two."""
    folder = tmp_path_factory.mktemp("fleet")
    made = pyrage.x25519.Identity.generate()
    (folder / "identity.txt").write_text(f"{made}\n")
    (folder / "identity.pub").write_text(str(made.to_public()))
    key = json.dumps(PrivateKey.generate(Algorithm.ES256).public.to_jwk())
    rows = [["serial", "name", "group", "grants", "jwk", "label:site", "label:model"]]
    rows += [[f"S-{n:03}", f"sensor {n}", "", f"{API}=a:read", "", "oslo", f"m{n % 2}"] for n in range(1, COUNT)]
    rows += [["S-000", "", "", f"{API}=a:read", key, "oslo", ""]]
    rows += [[f"G-{n}", "", "lab", "", "", "", ""] for n in range(2)]
    with (folder / "list.csv").open("w", newline="") as listed:
        csv.writer(listed).writerows(rows)
    with serving(folder) as base:
        for arguments in (
            ("api", "create", API, "--scope", "a:read"),
            ("enrolment", "create", "lab", "--grant", f"{API}=a:read", "--label", "site=lab"),
            ("device", "import", "list.csv", "--bundle", "first", "--recipient", str(made.to_public())),
        ):
            done = watchword(folder, *arguments)
            assert done.returncode == 0, done.stderr
        yield folder, base


def counted(folder: Path, *arguments: str) -> dict[str, object]:
    """What a command that must succeed says in JSON, without what is zero."""
    done = watchword(folder, "device", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return {name: value for name, value in json.loads(done.stdout).items() if value}


def secrets(folder: Path, bundle: str) -> dict[str, tuple[str, str]]:
    """Client id and secret by serial number."""
    shown = watchword(folder, "device", "bundle", "open", bundle, "--identity", "identity.txt").stdout
    return {row["serial"]: (row["client_id"], row["client_secret"]) for row in csv.DictReader(io.StringIO(shown))}


def status(base: str, pair: tuple[str, str]) -> int:
    """Of a token request."""
    return httpx.post(f"{base}/t/default/token", data={"grant_type": "client_credentials"}, auth=pair).status_code


def test_disabled_and_enabled_by_label(fleet: tuple[Path, str]) -> None:
    """A script would disable a fleet by a mistyped label, or nobody would be asked; or a part of it would go on."""
    folder, base = fleet
    known = secrets(folder, "first")
    assert counted(folder, "disable", "--label", "site=oslo", "--dry-run") == {
        "action": "disable", "dry_run": True, "changed": COUNT,
    }  # fmt: skip
    unasked = watchword(folder, "device", "disable", "--label", "site=oslo")
    assert unasked.returncode == 2
    assert f"{COUNT} devices" in unasked.stderr
    assert status(base, known["S-001"]) == 200
    mistyped = watchword(folder, "device", "disable", "--label", "site=olso", "--yes")
    assert (mistyped.returncode, "no device" in mistyped.stderr) == (1, True)
    assert counted(folder, "disable", "--label", "site=oslo", "--yes") == {"action": "disable", "changed": COUNT}
    assert {status(base, known[serial]) for serial in ("S-001", "S-150", f"S-{COUNT - 1}")} == {401}
    assert status(base, known["G-0"]) == 200
    some = "--label", "site=oslo", "--label", "model=m1", "--yes"
    assert counted(folder, "enable", *some) == {"action": "enable", "changed": COUNT // 2}
    assert (status(base, known["S-001"]), status(base, known["S-002"])) == (200, 401)
    assert counted(folder, "enable", "--label", "site=oslo", "--yes")["changed"] == COUNT - COUNT // 2


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("\x04", 1), ("y\n", 0)])
def test_a_person_is_asked(fleet: tuple[Path, str], answer: str, code: int) -> None:
    """A fleet would be cut off by one key too early; or whoever says no would see a trace."""
    folder, base = fleet
    known = secrets(folder, "first")
    typed, terminal = pty.openpty()
    action = "enable" if code == 0 else "disable"
    os.write(typed, answer.encode())
    asked = subprocess.run(
        [*COMMAND, "device", action, "--label", "site=oslo"], cwd=folder, env=environment(folder), stdin=terminal,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    os.close(typed)
    os.close(terminal)
    assert (asked.returncode, "Traceback" in asked.stderr) == (code, False), asked.stderr
    assert f"{action} {COUNT} devices?" in asked.stderr
    assert status(base, known["S-009"]) == 200


def test_quarantined_by_group_and_by_file(fleet: tuple[Path, str]) -> None:
    """Who has a list of stolen serial numbers would not learn which of them are not here."""
    folder, base = fleet
    known = secrets(folder, "first")
    assert counted(folder, "quarantine", "--group", "lab", "--reason", "stolen")["changed"] == 2
    assert status(base, known["G-1"]) == 401
    shown = json.loads(watchword(folder, "device", "show", "G-1", "--json").stdout)
    assert (shown["quarantine"]["reason"], shown["enabled"]) == ("stolen", True)
    assert counted(folder, "release", "G-0", "G-1")["changed"] == 2
    (folder / "stolen.txt").write_text("\ufeffS-003\r\nS-004\n\nS-003\nelsewhere\n", encoding="utf-8")
    done = watchword(folder, "device", "disable", "--file", "stolen.txt", "--report", "report.csv", "--json")
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert (said["changed"], said["missing"]) == (2, 1)
    [row] = csv.DictReader((folder / "report.csv").open())
    assert (row["serial"], row["outcome"]) == ("elsewhere", "missing")
    assert counted(folder, "enable", "S-003", "S-004")["changed"] == 2


def test_rotated_into_a_bundle(fleet: tuple[Path, str]) -> None:
    """New secrets would be on a screen, or lost, or the same as the old ones; or devices with keys would stop it."""
    folder, base = fleet
    known = secrets(folder, "first")
    into = "--recipient", (folder / "identity.pub").read_text(), "--yes"
    assert watchword(folder, "device", "rotate", "--label", "site=oslo", "--yes").returncode == 2
    rotate = "rotate", "--label", "site=oslo", "--overlap", "0", "--bundle", "second", *into
    assert counted(folder, *rotate) == {"action": "rotate", "changed": COUNT - 1, "skipped": 1, "bundle": "second"}
    fresh = secrets(folder, "second")
    assert fresh.keys() == {f"S-{n:03}" for n in range(1, COUNT)}
    assert not {pair[1] for pair in fresh.values()} & {pair[1] for pair in known.values()}
    assert (status(base, fresh["S-007"]), status(base, known["S-007"])) == (200, 401)
    assert watchword(folder, "device", *rotate).returncode == 1, "a complete bundle is never written to again"


def test_an_interrupted_rotation_goes_on(fleet: tuple[Path, str]) -> None:
    """A second run would make other secrets than those that the first one had handed out already."""
    folder, base = fleet
    recipient = (folder / "identity.pub").read_text()
    rotate = "rotate", "--label", "model=m1", "--recipient", recipient, "--yes", "--overlap", "0"
    begun = watchword(folder, "device", *rotate, "--bundle", "third", "--report", "nowhere/report.csv")
    assert (begun.returncode, "nowhere" in begun.stderr) == (1, True)
    assert stat.S_IMODE((folder / "third" / "import.json").stat().st_mode) == 0o600
    shutil.copytree(folder / "third", folder / "unanswered")
    for other in ("rotate", "S-001", *rotate[3:]), (*rotate[:2], "model=m0", *rotate[3:]), (*rotate[:-1], "7"):
        mixed = watchword(folder, "device", *other, "--bundle", "third")
        assert (mixed.returncode, "other work" in mixed.stderr) == (1, True)
    assert counted(folder, *rotate, "--bundle", "third")["changed"] == COUNT // 2
    told = secrets(folder, "third")
    # What the answers were that never arrived: the same question, with the same key.
    assert counted(folder, *rotate, "--bundle", "unanswered")["unchanged"] == COUNT // 2
    assert secrets(folder, "unanswered") == told
    assert {status(base, pair) for pair in [*told.values()][:3]} == {200}
    assert not (folder / "unanswered" / "import.json").exists()


def test_an_export_is_a_list_that_can_be_imported(fleet: tuple[Path, str]) -> None:
    """A fleet could not be moved or looked at as a whole; or its list would say something else than what there is."""
    folder, _ = fleet
    done = watchword(folder, "device", "export", "out.csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((folder / "out.csv").open()))
    assert len(rows) == COUNT + 2
    [first] = [row for row in rows if row["serial"] == "S-001"]
    assert first == {
        "serial": "S-001", "name": "sensor 1", "group": "", "grants": f"{API}=a:read", "roles": "",
        "auth_method": "client_secret_basic", "jwk": "", "label:model": "m1", "label:site": "oslo",
    }  # fmt: skip
    again = watchword(folder, "device", "import", "out.csv", "--dry-run", "--json")
    assert json.loads(again.stdout)["exists"] == COUNT + 2
    lines = watchword(folder, "device", "export", "--format", "jsonl", "--group", "lab").stdout.splitlines()
    assert {json.loads(line)["serial"] for line in lines} == {"G-0", "G-1"}
    assert {json.loads(line)["enabled"] for line in lines} == {True}
    assert "wwsec_" not in (folder / "out.csv").read_text() + "".join(lines)


def test_one_device_by_itself(fleet: tuple[Path, str]) -> None:
    """A single device would need a list of one, or be registered twice."""
    folder, base = fleet
    made = json.loads(watchword(folder, "device", "create", "ONE", "--group", "lab", "--json").stdout)
    assert status(base, (made["client_id"], made["client_secret"])) == 200
    again = watchword(folder, "device", "create", "ONE", "--group", "lab")
    assert (again.returncode, "already" in again.stderr) == (1, True)
    refused = watchword(folder, "device", "create", "TWO", "--group", "nowhere")
    assert (refused.returncode, "no enrolment group" in refused.stderr) == (1, True)
    shown = json.loads(watchword(folder, "device", "show", "ONE", "--json").stdout)
    assert shown["client_id"] == made["client_id"]
    assert watchword(folder, "device", "show", "NONE").returncode == 1
