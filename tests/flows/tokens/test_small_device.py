"""The example for small devices, end to end: a token over CoAP, a measurement at an API that verifies it."""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.served import environment, free_ports, serving, watchword

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "small-device"
MICROPYTHON = {"binascii", "hashlib", "json", "os", "socket", "struct", "sys", "time"}


def _module() -> ModuleType:
    spec = spec_from_file_location("small_device", EXAMPLE / "device.py")
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


device = _module()


@contextmanager
def measuring(folder: Path, base: str, port: int) -> Iterator[IO[str]]:
    """The example's API as a process; what it prints."""
    child = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "api.py"), f"{base}/t/default", str(port)],
        stdout=subprocess.PIPE, text=True, env=environment(folder),
    )  # fmt: skip
    assert child.stdout is not None
    try:
        assert child.stdout.readline().startswith("coap://")
        yield child.stdout
    finally:
        child.terminate()
        child.wait(15)
        child.stdout.close()


def known_of(folder: Path, base: str, coap: int, api: int) -> dict[str, Any]:
    """A device, registered, and what is written into its flash."""

    def made(*arguments: str) -> dict[str, Any]:
        ran = watchword(folder, *arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        return dict(json.loads(ran.stdout))

    made("api", "create", "urn:meters", "--scope", "m:w", "--format", "cwt")
    app = made(
        "app", "create", "meter", "--kind", "device", "--auth-method", "client_secret_jwt", "--grant", "urn:meters=m:w"
    )
    return {
        "issuer": f"{base}/t/default", "client_id": app["client_id"], "client_secret": app["client_secret"],
        "audience": "urn:meters", "scope": "m:w", "as": ["127.0.0.1", coap], "api": ["127.0.0.1", api],
    }  # fmt: skip


def test_a_measurement_arrives(tmp_path: Path) -> None:
    """The example is what device makers copy: as it stands it must work, also once its token is not taken any more."""
    coap, api = free_ports(2)
    with serving(tmp_path, "--coap", f"127.0.0.1:{coap}") as base, measuring(tmp_path, base, api) as printed:
        known = known_of(tmp_path, base, coap, api)
        (tmp_path / "device.json").write_text(json.dumps(known))
        ran = subprocess.run(
            [sys.executable, str(EXAMPLE / "device.py"), str(tmp_path / "device.json"), "21.5", "22.25"],
            capture_output=True, text=True, check=False, timeout=120, env=environment(tmp_path),
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert [printed.readline() for _ in range(2)] == [
            f"{known['client_id']} measured {value}\n" for value in (21.5, 22.25)
        ]

        sensor = device.Device(known)
        sensor.token, sensor.until = b"\xd2\x84 long gone", 2**40
        assert sensor.send(1.0)
        renewed = sensor.token
        sensor.until = 0
        assert sensor.send(2.0)
        assert sensor.token != renewed
        known["scope"] = "m:x"
        with pytest.raises(device.Refused) as refused:
            device.Device(known).send(3.0)
        assert refused.value.args[0] == 0x80


def test_it_needs_nothing_that_micropython_lacks() -> None:
    """One module more, or one page more, and it is no example for a microcontroller any longer."""
    text = (EXAMPLE / "device.py").read_text()
    tree = ast.parse(text)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= MICROPYTHON
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Match | ast.AsyncFunctionDef)]
    assert len(text.splitlines()) < 200


@given(
    st.recursive(
        st.integers(-(2**32), 2**32 - 1) | st.text(max_size=40) | st.binary(max_size=300),
        lambda inner: st.dictionaries(st.integers(0, 300) | st.text(max_size=5), inner, max_size=30),
    )
)
def test_its_cbor_is_cbor(value: Any) -> None:
    """What it writes is read by others, and what others write it reads."""
    assert cbor2.loads(device.encode(value)) == value
    assert device.decode(cbor2.dumps(value, canonical=True))[0] == value


@contextmanager
def answering(answer: Callable[[int, bytes], list[bytes]]) -> Iterator[list[str]]:
    """A server that loses and delays: what it sends for the n-th datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        seen: list[bytes] = []

        def run() -> None:
            while not (seen and seen[-1][1:2] == b"\x00" and seen[-1][0] == 0x60) and len(seen) < 4:
                try:
                    datagram, peer = server.recvfrom(2048)
                except OSError:
                    return
                seen.append(datagram)
                for one in answer(len(seen), datagram):
                    server.sendto(one, peer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield [server.getsockname(), seen]  # type: ignore[misc]


def test_what_is_lost_is_sent_again() -> None:
    """A radio loses datagrams: the same message, with the same id, until there is an answer."""
    with answering(lambda n, d: [] if n < 3 else [b"\x64\x44" + d[2:8] + b"\xffok"]) as (address, seen):
        assert device.post(address, ("x",), 60, b"p", wait=0.05) == (0x44, b"ok")
        assert seen[0] == seen[1] == seen[2]


def test_an_answer_that_comes_later() -> None:
    """An empty acknowledgement first, the answer in a message of its own, which is acknowledged (RFC 7252 5.2.2)."""

    def late(n: int, d: bytes) -> list[bytes]:
        if n > 1:
            return []
        return [
            b"\x60\x00" + d[2:4],
            b"\x44\x44\x12\x34nope" + b"\xffno",
            b"\x44\x44\x12\x34" + d[4:8] + b"\xc1\x3c\xffok",
        ]

    with answering(late) as (address, _):
        assert device.post(address, ("x",), 60, b"p", wait=5) == (0x44, b"ok")


def test_no_answer_at_all() -> None:
    """A device must not hang for ever over a server that is gone."""
    with answering(lambda n, d: []) as (address, seen), pytest.raises(OSError, match="no answer"):
        device.post(address, ("x",), 60, b"p", tries=2, wait=0.02)
    assert 1 <= len(seen) <= 2
