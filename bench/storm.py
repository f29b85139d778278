"""The storm: after an outage every device comes back at once, one of them is broken, and somebody guesses secrets.

Ends well when every device has its token and every token is in the audit log.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from watchword.jose.sealing import load_master_key
from watchword.server.composition.foundation import PEPPER
from watchword.server.registry.model import Application, Secret
from watchword.server.registry.secret_text import digest, generate

from .crowd import Crowd, Device
from .load import LOAD_CORE
from .servers import GRANT, Ours, basic, watchword

MOST = 300.0
HAMMER = 0.005
"""Seconds from one request of the broken device, or of the attacker, to its next; each has so many hands."""
HANDS = 4


def main(arguments: list[str]) -> int:
    """0 when nobody was lost."""
    parser = argparse.ArgumentParser(prog="python -m bench storm", description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="within which all of them arrive")
    parser.add_argument(
        "--server-nice", type=int, default=0,
        help="the server's priority, for a machine that is too busy for the crowd to be faster than the server",
    )  # fmt: skip
    parser.add_argument("--picture", type=Path, help="where to draw it (PNG)")
    given = parser.parse_args(arguments)
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    folder = Path(tempfile.mkdtemp())
    try:
        return storm(folder, given.devices, given.seconds, given.server_nice, given.picture)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def storm(folder: Path, count: int, seconds: float, nice: int, picture: Path | None) -> int:
    """Register, run, count."""
    with watchword(folder / "server", "ES256") as ours:
        known = registered(ours, count)
        if nice:
            _slowed(ours.pid, nice)
        path = urlsplit(ours.base).path + "/token"
        devices = [Device(_request(path, *each), each[0]) for each in known]
        broken = [Device(_request(path, *ours.callers["ES256"]), "broken", HAMMER) for _ in range(HANDS)]
        attacker = [Device(_request(path, known[0][0], "wrong"), "attacker", HAMMER) for _ in range(HANDS)]
        crowd = Crowd(int(urlsplit(ours.base).port or 0), devices, [*broken, *attacker])
        lasted = crowd.run(seconds, MOST)
    recorded = issued(ours)
    lost = [each for each in devices if not each.tokens]
    unrecorded = [each for each in devices if recorded.get(each.name, 0) < each.tokens]
    tell(crowd, devices, {"the broken device": broken, "the attacker": attacker}, lasted)
    _say(f"in the audit log: {sum(recorded.get(each.name, 0) for each in devices):,} tokens of devices")
    _say(f"devices without a token: {len(lost)}; tokens without an event: {len(unrecorded)}")
    if picture is not None:
        from .picture import draw

        draw(crowd.seconds, count, crowd.arrived, lasted, picture)
    return bool(lost or unrecorded)


def _slowed(pid: int, nice: int) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)


def registered(ours: Ours, count: int) -> list[tuple[str, str]]:
    """Each with an id and a secret of its own: written straight into the database, as a restored one has them."""
    pepper = load_master_key(ours.folder / "watchword.key").derive(PEPPER)
    database = sqlite3.connect(ours.folder / "watchword.db", timeout=10)
    kept = database.execute("SELECT body FROM application WHERE id = ?", (ours.callers["ES256"][0],)).fetchone()
    pattern = msgspec.json.decode(kept[0], type=Application)
    known, rows = [], []
    for n in range(count):
        client_id, secret = str(uuid.uuid4()), generate(os.urandom(32))
        held = Secret(id=f"{n:012x}", digest=digest(pepper, secret.encode()), created_at=pattern.created_at)
        made = replace(pattern, client_id=client_id, name=f"device {n}", kind="device", secrets=(held,))
        known.append((client_id, secret))
        rows.append((pattern.tenant_id, client_id, made.name, False, 1, msgspec.json.encode(made)))
    with database:
        database.executemany(
            "INSERT INTO application (tenant_id, id, sort, deleted, version, body) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
    database.close()
    return known


def _request(path: str, client_id: str, secret: str) -> bytes:
    fields = {"Host": "127.0.0.1", "Connection": "close", "Content-Length": str(len(GRANT)), **basic(client_id, secret)}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n{GRANT}".encode()


def issued(ours: Ours) -> dict[str, int]:
    """Tokens in the audit log, by whom they were issued to."""
    database = sqlite3.connect(ours.folder / "watchword.db")
    found: dict[str, int] = {}
    for (payload,) in database.execute("SELECT payload FROM audit"):
        for event in msgspec.json.decode(payload):
            if event.get("event") == "TokenIssued":
                found[event["actor"]] = found.get(event["actor"], 0) + 1
    database.close()
    return found


def tell(crowd: Crowd, devices: list[Device], hammerers: dict[str, list[Device]], lasted: float) -> None:
    """In words."""
    tries = sorted(each.tries for each in devices)
    waited = sorted(each.served_at - each.due for each in devices if each.tokens)
    latencies = sorted(latency for second in crowd.seconds for latency in second.latencies)
    _say(f"{len(devices):,} devices, {crowd.served:,} served in {lasted:.1f} s; most connections {crowd.most_held:,}")
    _say(f"the last of them came after {crowd.arrived:.1f} s")
    _say(f"refused {_sum(crowd, 'refused'):,} times, no answer {_sum(crowd, 'failed'):,} times")
    gave_up = sum(each.gave_up > 0 for each in devices)
    _say(
        f"tries of a device: median {statistics.median(tries):.0f}, most {tries[-1]}; clients that gave up: {gave_up:,}"
    )
    _say(f"answer to those let in: p50 {_part(latencies, 0.5):.3f} s, p99 {_part(latencies, 0.99):.3f} s")
    _say(f"from a device's first try to its token: p50 {_part(waited, 0.5):.1f} s, p99 {_part(waited, 0.99):.1f} s")
    for name, hands in hammerers.items():
        told: dict[int, int] = {}
        for each in hands:
            for status, times in each.told.items():
                told[status] = told.get(status, 0) + times
        _say(f"{name} was told {', '.join(f'{s} {n:,} times' for s, n in sorted(told.items()))}")


def _sum(crowd: Crowd, name: str) -> int:
    return sum(getattr(second, name) for second in crowd.seconds)


def _part(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
