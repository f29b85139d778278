"""`python -m examples.iot`: a fleet, its brokers and its dashboard, on throwaway state. Ctrl-C ends all of it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.brokers import mosquitto
from examples.brokers.kafka import NEEDS, kafka
from examples.brokers.processes import Missing, check, free_ports, listening
from examples.iot.registry import Operator
from examples.iot.story import CONNECT, KAFKA, story

TAKEN_OUT, AFTER = "truck-7", 20
"""The device that the operator disables, and after how many seconds."""


def main() -> int:
    """Exit code 1: something is not installed."""
    parser = argparse.ArgumentParser(prog="python -m examples.iot", description=__doc__)
    parser.add_argument("--seconds", type=float, help="end by itself after that long")
    parser.add_argument("--port", type=int, default=8490, help="of the dashboard, on loopback")
    wanted = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)  # the page tells what our libraries would warn of
    for told in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told, _ended)
    try:
        check(*NEEDS, *mosquitto.NEEDS)
        with tempfile.TemporaryDirectory(prefix="iot", ignore_cleanup_errors=True) as place:
            Path(place).chmod(0o755)  # the brokers are other users
            run(Path(place), wanted.port, wanted.seconds)
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Ended.")
    return 0


def _ended(*_: object) -> None:
    """Once: what is told again while the brokers are stopped would leave them behind."""
    for told in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(place: Path, port: int, seconds: float | None) -> None:
    """For that many seconds, or until it is interrupted."""
    for name in ("watchword", "kafka", "mosquitto"):
        (place / name).mkdir()
    with watchword(place / "watchword") as operator:
        operator.api(KAFKA, CONNECT)
        print("Starting the brokers ...", flush=True)
        with (
            kafka(operator.issuer, None, KAFKA, place / "kafka") as streams,
            story(operator, streams, place / "mosquitto", port=port) as telling,
        ):
            print(f"The fleet is at {telling.url}  (Ctrl-C ends it)", flush=True)
            first = AFTER if seconds is None else min(AFTER, seconds / 2)
            time.sleep(first)
            telling.switch(TAKEN_OUT, False)
            print(f"{TAKEN_OUT} is disabled: the broker ends its connection. The page can enable it again.", flush=True)
            threading.Event().wait(None if seconds is None else seconds - first)


@contextmanager
def watchword(folder: Path) -> Iterator[Operator]:
    """A server of its own on loopback, and its first administrator."""
    [port] = free_ports(1)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WATCHWORD_")}
    told = {**inherited, "WATCHWORD_PROFILE": f"{folder}/profile.toml"}
    command = [sys.executable, "-m", "watchword.cli"]
    init = subprocess.run(
        [*command, "init", "--json"], cwd=folder, env=told, check=True, stdout=subprocess.PIPE, text=True
    )
    first = json.loads(init.stdout)
    with listening([*command, "serve", "--port", str(port)], port, folder, told):
        operator = Operator(f"http://127.0.0.1:{port}/t/default", first["client_id"], first["client_secret"])
        try:
            yield operator
        finally:
            operator.close()


if __name__ == "__main__":
    sys.exit(main())
