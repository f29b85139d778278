"""The ACE-OAuth token endpoint over CoAP (RFC 9200): as a running process, asked by aiocoap's client and by bare UDP."""

from __future__ import annotations

import hmac
import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
import pytest
from aiocoap import FETCH, GET, POST, Context, Message
from tests.support.assertions import compose
from tests.support.served import free_ports, serving, watchword

from watchword.jose.cwt import cwt_text
from watchword.resource import Fetch, Issuer, Verifier
from watchword.server.config import SettingsError, load

AUDIENCE = "urn:meters"
TOKEN, EXPIRES_IN, CNF, AUD, SCOPE, ID, SECRET = 1, 2, 4, 5, 9, 24, 25
ERROR, GRANT, TYPE, PROFILE = 30, 33, 34, 38


@dataclass(frozen=True)
class Served:
    """A server with CoAP, its folder, and two devices: one with a plain secret, one that signs with it."""

    base: str
    coap: str
    folder: Path
    device: tuple[str, str]
    signer: tuple[str, str]

    @property
    def port(self) -> int:
        return int(self.coap.rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"coap://{self.coap}/t/default/token"


def _made(folder: Path, *arguments: str) -> dict[str, Any]:
    ran = watchword(folder, *arguments, "--json")
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("coap")
    coap = f"127.0.0.1:{free_ports(1)[0]}"
    with serving(folder, "--coap", coap, "--workers", "2") as base:
        apps = [
            _made(folder, "app", "create", name, "--kind", "device", "--auth-method", method)
            for name, method in (("plain", "client_secret_post"), ("signs", "client_secret_jwt"))
        ]
        _made(folder, "api", "create", AUDIENCE, "--scope", "m:w", "--scope", "m:r", "--format", "cwt")
        _made(folder, "api", "create", "urn:jwts", "--scope", "j")
        for app in apps:
            _made(folder, "app", "grant", app["client_id"], f"{AUDIENCE}=m:w", "urn:jwts=j")
        plain, signs = [(app["client_id"], app["client_secret"]) for app in apps]
        yield Served(base, coap, folder, plain, signs)


async def ask(served: Served, members: Any, **options: Any) -> Message:
    """One request by aiocoap's own client, in a context of its own."""
    context = await Context.create_client_context(transports=["udp6"])
    payload = members if isinstance(members, bytes) else cbor2.dumps(members, canonical=True)
    given = {"code": POST, "uri": served.url, "content_format": 19, "payload": payload, **options}
    try:
        return await context.request(Message(**given)).response
    finally:
        await context.shutdown()


def request(served: Served, **more: Any) -> dict[Any, Any]:
    made: dict[Any, Any] = {GRANT: 2, ID: served.device[0], SECRET: served.device[1].encode(), AUD: AUDIENCE}
    return {**made, **{int(name[1:]): value for name, value in more.items()}}


async def test_a_device_gets_a_token(served: Served) -> None:
    """The whole point: one datagram there, one back, and the API takes what was in it."""
    answer = await ask(served, request(served, _9="m:w"))
    assert (str(answer.code), answer.opt.content_format, answer.opt.block2) == ("2.01 Created", 19, None)
    assert len(answer.payload) < 300
    told = cbor2.loads(answer.payload)
    assert set(told) == {TOKEN, EXPIRES_IN, TYPE}
    assert (told[EXPIRES_IN], told[TYPE]) == (3600, 1)
    verifier = Verifier(
        Issuer(f"{served.base}/t/default", cwt=True), audience=AUDIENCE, fetch=Fetch(insecure_http=True)
    )
    assert verifier.verify(cwt_text(told[TOKEN]), "m:w").client_id == served.device[0]


async def test_what_was_not_asked_is_said(served: Served) -> None:
    """RFC 9200 section 5.8.2: a device that asked for no scope must learn which it has."""
    told = cbor2.loads((await ask(served, request(served))).payload)
    assert told[SCOPE] == "m:w"


async def test_byte_string_scope_and_left_out_grant_type(served: Served) -> None:
    """RFC 9200 section 5.8.1: both are what its clients may send."""
    members = request(served, _9=b"m:w")
    del members[GRANT]
    assert TOKEN in cbor2.loads((await ask(served, members)).payload)


async def test_an_api_with_jwts(served: Served) -> None:
    """The format is the API's to choose, and the surface only carries it; what is long comes in blocks (RFC 7959)."""
    answer = await ask(served, {**request(served), AUD: "urn:jwts"})
    assert cbor2.loads(answer.payload)[TOKEN].count(b".") == 2
    blocks = await ask(served, {**request(served), AUD: "urn:jwts"}, block2=(0, False, 2))
    assert cbor2.loads(blocks.payload)[TOKEN].count(b".") == 2


async def test_a_secret_that_never_travels(served: Served) -> None:
    """client_secret_jwt over CoAP: a text key, for RFC 9200 has no number for it; and it works once."""
    client_id, secret = served.signer
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": f"{served.base}/t/default",
        "exp": now + 60,
        "iat": now,
        "jti": "1",
    }
    payload = json.dumps(claims).encode()
    assertion = compose({"alg": "HS256"}, payload, lambda data: hmac.digest(secret.encode(), data, "sha256"))
    members = {AUD: AUDIENCE, "client_assertion": assertion}
    assert TOKEN in cbor2.loads((await ask(served, members)).payload)
    again = await ask(served, members)
    assert str(again.code).startswith("4.01")


@pytest.mark.parametrize(
    ("change", "code", "error"),
    [
        ({SECRET: b"wrong"}, "4.01", 2), ({ID: "unknown"}, "4.01", 2), ({SCOPE: "m:r"}, "4.00", 6),
        ({SCOPE: "no such"}, "4.00", 6), ({AUD: "urn:nothing"}, "4.00", 1), ({GRANT: 0}, "4.00", 5),
        ({GRANT: 99}, "4.00", 5), ({CNF: {1: {1: 2}}}, "4.00", 7), ({PROFILE: None}, "4.00", 8),
        ({SCOPE: 5}, "4.00", 1), ({ID: None}, "4.00", 1), ({"scope": "m:w"}, "4.00", 1), ({"client_assertion": "x"}, "4.00", 1),
    ],
)  # fmt: skip
async def test_refusals(served: Served, change: dict[Any, Any], code: str, error: int) -> None:
    """The same rules as over HTTP, in the numbers of RFC 9200 section 5.8.3; unknown and wrong look alike."""
    answer = await ask(served, {**request(served), **change})
    told = cbor2.loads(answer.payload)
    assert (str(answer.code)[:4], told[ERROR]) == (code, error), told
    assert answer.opt.content_format == 19


@pytest.mark.parametrize(
    "payload", [b"", b"\xa2\x01", b"\xbf\xff", b"\x80", b"{}", cbor2.dumps({1: 2})[:1] + b"\x18\x01\x02"]
)
async def test_bodies_that_are_no_map(served: Served, payload: bytes) -> None:
    """Whatever a stranger sends is answered with a reason and never with 5.00."""
    answer = await ask(served, payload)
    assert str(answer.code).startswith("4.00")
    assert cbor2.loads(answer.payload)[ERROR] == 1


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"content_format": 50}, "4.15"), ({"accept": 50}, "4.06"), ({"code": GET}, "4.05"), ({"code": FETCH}, "4.05"),
        ({"uri": "/t/nobody/token"}, "4.04"), ({"uri": "/t/default"}, "4.04"), ({"uri": "/"}, "4.04"),
        ({"uri": "/.well-known/core"}, "4.04"),
    ],
)  # fmt: skip
async def test_what_is_not_the_endpoint(served: Served, options: dict[str, Any], code: str) -> None:
    """One path, one method, one format; there is nothing else to find."""
    if "uri" in options:
        options = {**options, "uri": f"coap://{served.coap}{options['uri']}"}
    answer = await ask(served, request(served), **options)
    assert str(answer.code).startswith(code)


async def test_a_request_in_blocks(served: Served) -> None:
    """A radio of 64-byte blocks asks as well; what is longer than any request is refused, however it comes."""
    padded = {**request(served), "x": "y" * 1_500}
    assert TOKEN in cbor2.loads((await ask(served, padded)).payload)
    answer = await ask(served, {**request(served), "x": "y" * 9_000})
    assert str(answer.code).startswith("4.13")


def coap_post(served: Served, message_id: int) -> bytes:
    """A confirmable POST as it stands on the wire (RFC 7252 section 3)."""
    options, before = b"", 0
    for number, value in ((11, b"t"), (11, b"default"), (11, b"token"), (12, b"\x13")):
        options += bytes([(number - before) << 4 | len(value)]) + value
        before = number
    payload = cbor2.dumps(request(served), canonical=True)
    return struct.pack(">BBH", 0x42, 2, message_id) + b"tk" + options + b"\xff" + payload


def issued_events(served: Served) -> int:
    """Tokens of the device on record."""
    ran = watchword(served.folder, "audit", "export")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.count("TokenIssued")


def test_a_datagram_that_came_twice_issues_once(served: Served) -> None:
    """A lost answer is asked for again with the same message id: the device gets that very answer, and one token lives."""
    before = issued_events(served)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.settimeout(10)
        device.connect(("127.0.0.1", served.port))
        device.send(coap_post(served, 4711))
        first = device.recv(2048)
        device.send(coap_post(served, 4711))
        assert device.recv(2048) == first
        assert issued_events(served) == before + 1
        device.send(coap_post(served, 4712))
        assert device.recv(2048) != first


def test_noise_is_survived(served: Served) -> None:
    """Datagrams that are no CoAP are dropped, and the next device is served."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.settimeout(10)
        device.connect(("127.0.0.1", served.port))
        for noise in (
            b"",
            b"\xff" * 40,
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x40",
            b"\x4f\x02\x00\x01",
            b"\x42\x02\x00\x02tk\xff",
        ):
            device.send(noise)
        device.send(coap_post(served, 9))
        while struct.unpack(">H", (answer := device.recv(2048))[2:4]) != (9,):
            pass
        assert answer[1] == 0x41


@pytest.mark.parametrize("address", ["0.0.0.0:5683", "192.0.2.1:5683", "[2001:db8::1]:5683"])
def test_beyond_loopback_only_when_told(address: str, tmp_path: Path) -> None:
    """A listener in the clear beyond loopback is a decision, and never a typo."""
    with pytest.raises(SettingsError, match="loopback"):
        load({"coap": address}, {}, tmp_path / "none.toml")
    assert not load({"coap": address, "coap_insecure": True}, {}, tmp_path / "none.toml").coap_protected


@pytest.mark.parametrize("address", ["5683", "host:", ":5683", "host:0", "host:99999", "host:port"])
def test_addresses_that_are_none(address: str, tmp_path: Path) -> None:
    """A wrong setting is told at the start, with what would be right."""
    with pytest.raises(SettingsError, match="HOST:PORT"):
        load({"coap": address, "coap_insecure": True}, {}, tmp_path / "none.toml")


async def test_what_is_not_known_is_ignored(served: Served) -> None:
    """RFC 6749 section 3.2: a parameter of tomorrow, of whatever type, must not lock today's device out."""
    assert TOKEN in cbor2.loads((await ask(served, {**request(served), 200: [1], "tomorrow": {1: 2}})).payload)
