"""The example for small devices under MicroPython itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.flows.tokens.test_small_device import EXAMPLE, known_of, measuring
from tests.support.npm import install
from tests.support.served import free_ports, serving


def test_the_sensor_runs_on_micropython(tmp_path: Path) -> None:
    """What runs on CPython alone (a keyword, a method, a module too many) is found out here and not in the field."""
    coap, api = free_ports(2)
    board = install(Path(__file__).parent / "micropython", tmp_path)
    with serving(tmp_path, "--coap", f"127.0.0.1:{coap}") as base, measuring(tmp_path, base, api) as printed:
        known = known_of(tmp_path, base, coap, api)
        (tmp_path / "device.json").write_text(json.dumps(known))
        ran = subprocess.run(
            ["node", "board.mjs", str(EXAMPLE / "device.py"), str(tmp_path / "device.json"), "21.5", "22.25"],
            cwd=board, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert ran.stdout.startswith("micropython\nsent 21.5 with a token of")
        assert [printed.readline() for _ in range(2)] == [
            f"{known['client_id']} measured {value}\n" for value in (21.5, 22.25)
        ]
