"""Mosquitto with our plugin and the service that judges its logins, told by `watchword broker-config mosquitto`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.brokers.processes import broker_config, check, free_ports, listening, program, saying

SOURCE = Path(__file__).resolve().parents[2] / "contrib" / "mosquitto"
NEEDS = ("mosquitto", "make", "gcc", "/usr/include/mosquitto_broker.h", "/usr/include/mosquitto.h")
USER = "mosquitto"
"""Whom Debian's package runs it as."""


@contextmanager
def mosquitto(
    issuer: str, ca: Path | None, api: str, introspector: tuple[str, str], folder: Path, *, more: str = ""
) -> Iterator[int]:
    """Its MQTT port on loopback, until the end of the block. Raises `Missing`.

    `introspector`: id and secret of an application that may follow the revocations of the API. `more`: lines of
    configuration, such as another listener.
    """
    plugin, socket, [port] = _plugin(folder), folder / "judge", free_ports(1)
    broker_config("mosquitto", "--plugin", plugin, "--socket", socket, "--out", folder)
    with (folder / "watchword.conf").open("a") as config:
        config.write(f"listener {port} 127.0.0.1\nlog_dest stderr\nlog_type all\n{more}")
    if os.getuid() == 0:
        # What is made here belongs to the broker's group: it may ask, and nobody else.
        shutil.chown(folder, group=USER)
        folder.chmod(0o2755)
    judge = [sys.executable, "-m", "watchword.cli", "broker-auth", "mosquitto", "--api", api, "--socket", str(socket)]
    told = {
        "PATH": "/usr/bin:/bin", "WATCHWORD_PROFILE": f"{folder}/profile.toml",
        "WATCHWORD_ISSUER": issuer, "WATCHWORD_CLIENT_ID": introspector[0],
        "WATCHWORD_CLIENT_SECRET": introspector[1], **({"SSL_CERT_FILE": str(ca)} if ca else {}),
    }  # fmt: skip
    broker = [program("mosquitto"), "-c", f"{folder}/watchword.conf"]
    with (
        saying("answering", [*judge, "--revocations"], folder, told),
        listening(broker, port, folder, {}, user=USER),
    ):
        yield port


def _plugin(folder: Path) -> Path:
    """Built against the headers of the broker that is installed."""
    made = folder / "watchword_mosquitto.so"
    check(*NEEDS)
    build = ["make", "-C", str(SOURCE), f"OUT={made}", "CFLAGS=-O2 -Werror"]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return made
