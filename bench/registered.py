"""Tokens for devices among a thousand that are registered and among a million: one load, in turns, in one run.

The devices are registered by the verb of the import, batch by batch. Then each request comes from a device that chance
picks: among a million hardly any comes twice, and the worker has met few of them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import math
import os
import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from watchword.server.composition.foundation import BULK_SECRETS
from watchword.server.composition.services import open_services
from watchword.server.config import load
from watchword.server.registry.model import Grant
from watchword.server.service.desk import Caller
from watchword.server.service.fleet.import_devices import MAX_ROWS, DeviceBatch, DeviceRow, import_devices

from .fleet import cpu_of
from .footprint import resident
from .load import LOAD_CORE, Worthless
from .pace import paced
from .servers import GRANT, Ours, basic, watchword
from .table import Row, heading, ratio, show

FEW = 1_000
WARM = 3.0
"""Seconds before each measured piece: a worker that has just begun, or stood still, is another one."""
TRIES = 3
"""Of a piece in which one of a hundred was refused: it measures refusals."""
BAR = 2.0
"""At most so many times the p99 of a thousand."""
Device = tuple[str, str]


def main(arguments: list[str]) -> int:
    """0 when it could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench registered", description=__doc__)
    parser.add_argument("--devices", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("SQLite", "PostgreSQL"), default="SQLite")
    parser.add_argument("--rate", type=float, default=2_000.0, help="requests a second, below what the machine can do")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measured piece")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp())
    try:
        with ExitStack() as stack:
            _measured(stack, folder, given)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _measured(stack: ExitStack, folder: Path, given: argparse.Namespace) -> None:
    heading(f"Tokens for one of so many devices, {given.database}, {given.rate:,.0f} requests a second")
    crowds: list[tuple[str, Ours, list[Device]]] = []
    for count in (FEW, given.devices):
        ours = stack.enter_context(watchword(folder / str(count), "ES256", database=_database(stack, given.database)))
        began = time.monotonic()
        known = asyncio.run(_registered(ours, count))
        sys.stderr.write(f"{count} devices registered in {time.monotonic() - began:.0f} s\n")
        crowds.append((f"{count:,}", ours, known))
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    few, many = (name for name, _, _ in crowds)
    p50: dict[str, list[float]] = {few: [], many: []}
    p99: dict[str, list[float]] = {few: [], many: []}
    cpu: dict[str, list[float]] = {few: [], many: []}
    for _ in range(given.rounds):
        for name, ours, known in crowds:
            _piece(ours, known, given.rate, WARM)
            before = cpu_of(ours.pid)
            found = _piece(ours, known, given.rate, given.seconds)
            cpu[name].append(1e6 * (cpu_of(ours.pid) - before) / len(found))
            p50[name].append(_part(found, 0.5))
            p99[name].append(_part(found, 0.99))
    show(
        *(Row(f"CPU of the worker a token, {name} registered", cpu[name], " µs") for name in cpu),
        *(Row(f"p50, {name} registered", p50[name], " ms") for name in p50),
        *(Row(f"p99, {name} registered", p99[name], " ms") for name in p99),
        ratio(f"p99 of {many} to that of {few}", p99[many], p99[few], BAR, most=True),
        *(Row(f"memory of the worker, {name} registered", [resident(ours.pid)], " MB") for name, ours, _ in crowds),
    )


def _database(stack: ExitStack, name: str) -> str:
    if name == "SQLite":
        return ""
    from tests.support.postgres import Postgres

    cluster = Postgres.start(own=True)
    stack.callback(cluster.stop)
    return cluster.fresh_database()


async def _registered(ours: Ours, count: int) -> list[Device]:
    """Beside the running server, as another node would."""
    before = Path.cwd()
    os.chdir(ours.folder)
    try:
        services = await open_services(load({"database_url": ours.environment.get("WATCHWORD_DATABASE_URL")}))
    finally:
        os.chdir(before)
    try:
        desk = services.desk
        tenant = await services.view.tenant("default")
        assert tenant is not None
        grants = (Grant(api_id=tenant.by_identifier["https://es256.example/"].api_id, scopes=("a:read",)),)
        caller = Caller(tenant.tenant.tenant_id, ours.admin[0])
        bundle, bulk = base64.urlsafe_b64encode(os.urandom(32)).decode(), services.master.derive(BULK_SECRETS)
        rows = (DeviceRow(serial=f"SN-{n:08}", grants=grants, labels={"region": "eu"}) for n in range(count))
        known: list[Device] = []
        while batch := tuple(islice(rows, MAX_ROWS)):
            made = await import_devices(desk, caller, DeviceBatch(rows=batch, bundle_key=bundle), bulk)
            known += [(each.client_id, each.client_secret) for each in made]
        return known
    finally:
        await services.storage.close()


def _piece(ours: Ours, known: list[Device], rate: float, seconds: float) -> list[float]:
    """Latencies in milliseconds, in order. Raises `Worthless`."""
    address = urlsplit(ours.base)
    for _ in range(TRIES):
        requests = [_request(f"{address.path}/token", *random.choice(known)) for _ in range(int(rate * seconds))]
        latencies = sorted(1e3 * each for each in paced(int(address.port or 0), requests, rate))
        if math.isfinite(_part(latencies, 0.99)):
            return latencies
        sys.stderr.write(f"{latencies.count(math.inf)} of {len(requests)} requests got no token: once more\n")
    raise Worthless(f"{rate} requests a second are too many for this machine now: say --rate")


def _request(path: str, client_id: str, secret: str) -> bytes:
    fields = {"Host": "127.0.0.1", "Content-Length": str(len(GRANT)), **basic(client_id, secret)}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n{GRANT}".encode()


def _part(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
