"""Keys at an address that somebody else chose: what we fetch, how often, and what we never connect to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpcore
import pytest
from tests.support.assertions import Caller, refused
from tests.support.instance import Instance, instance
from tests.support.keyserver import HOST, PUBLIC, URI, Authority, KeyServer, Network

from watchword.jose import Algorithm, PrivateKey
from watchword.server.config import Settings, SettingsError
from watchword.server.outgoing import fetch
from watchword.server.outgoing.host_budget import LIMIT
from watchword.server.service.clients import fetched_keys


@dataclass
class World:
    """An instance whose network is the test's."""

    ww: Instance
    api: dict[str, Any]
    server: KeyServer
    network: Network
    authority: Authority
    key: PrivateKey

    async def c_uri(self, uri: str = URI) -> Caller:
        """An application whose keys stand at `uri`."""
        return await Caller.register(self.ww, self.api, "c_uri", self.key, jwks_uri=uri)

    async def register(self, uri: str) -> Any:
        """The answer to a registration."""
        body = {"name": "x", "auth_method": "private_key_jwt", "jwks_uri": uri}
        return await self.ww.call("POST", "/applications", body)


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """keys.example publishes one ES256 key."""
    authority, server, key = Authority(tmp_path), KeyServer(), PrivateKey.generate(Algorithm.ES256)
    server.publish(key)
    network = Network(server)
    outside = {"network": network, "resolve": network.resolve}
    async with (
        server.serving(authority.context()),
        instance(tmp_path, world_of=outside, fetch_ca_file=str(authority.file)) as ww,
    ):
        yield World(ww, await ww.api("https://rs1.example/", "a:read"), server, network, authority, key)


async def test_keys_are_fetched_and_kept(w: World) -> None:
    """PKJ-051: keys by address would not work, be fetched for every request, or never again."""
    caller = await w.c_uri()
    assert w.network.connected == []
    for _ in range(3):
        assert (await caller.token()).status_code == 200
    assert w.network.connected == [(PUBLIC, 443)]
    assert w.server.asked[0].startswith("GET /jwks HTTP/1.1\r\n")
    assert f"host: {HOST}\r\n" in w.server.asked[0].lower()
    successor = PrivateKey.generate(Algorithm.ES256)
    w.server.publish(successor)
    assert (await caller.token()).status_code == 200
    w.ww.clock.now += fetched_keys.CACHED + 1
    refused(await caller.token())
    assert (await caller.token(header=caller.header(kid=successor.kid), sign=successor.sign)).status_code == 200
    assert len(w.server.asked) == 2


async def test_a_new_key_is_found_at_once(w: World) -> None:
    """A client that rotates its key would be refused until a cache ends."""
    caller = await w.c_uri()
    assert (await caller.token()).status_code == 200
    successor = PrivateKey.generate(Algorithm.ES256)
    w.server.publish(w.key, successor)
    w.ww.clock.now += fetched_keys.COOL_DOWN
    assert (await caller.token(header=caller.header(kid=successor.kid), sign=successor.sign)).status_code == 200


async def test_unknown_kids_do_not_make_us_fetch(w: World) -> None:
    """PKJ-040: anybody could make us hammer an address, or empty the cache of good keys (CVE-2026-48524)."""
    caller = await w.c_uri()
    assert (await caller.token()).status_code == 200
    for second in range(60):
        refused(await caller.token(header=caller.header(kid=f"random {second}"), sign=lambda _: b"\1" * 64))
        w.ww.clock.now += 1
    assert 1 < len(w.server.asked) <= 1 + 60 / fetched_keys.COOL_DOWN
    assert (await caller.token()).status_code == 200


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("500", {"status": 500}),
    ("404", {"status": 404}),
    ("not JSON", {"body": b"<html>"}),
    ("an empty set", {"body": b'{"keys":[]}'}),
    ("too large", {"body": b" " * (fetch.MAX_BYTES + 1)}),
    ("a coding", {"headers": ["content-encoding: gzip"]}),
    ("SSR-004 a redirect", {"status": 302, "headers": ["location: http://169.254.169.254/latest"]}),
    ("SSR-004 a redirect elsewhere", {"status": 308, "headers": ["location: https://other.example/jwks"]}),
]


@pytest.mark.parametrize("broken", [pytest.param(b, id=i) for i, b in BROKEN])
async def test_an_answer_that_does_not_count(w: World, broken: dict[str, Any]) -> None:
    """SSR-004: a redirect would lead inside, an error page would be read as keys; and a failure must look like any other."""
    caller = await w.c_uri()
    for name, value in broken.items():
        setattr(w.server, name, value)
    refused(await caller.token())
    assert w.network.connected == [(PUBLIC, 443)]


async def test_too_many_keys_to_try(w: World) -> None:
    """PKJ-039: an assertion without a kid would cost as many verifications as its owner likes."""
    caller = await w.c_uri()
    more = [PrivateKey.generate(Algorithm.ES256) for _ in range(10)]
    w.server.publish(*more[:9], w.key)
    assert (await caller.token(header={"alg": "ES256"})).status_code == 200
    w.server.publish(*more, w.key)
    w.ww.clock.now += fetched_keys.CACHED + 1
    refused(await caller.token(header={"alg": "ES256"}))
    assert (await caller.token()).status_code == 200


async def test_the_address_is_down(w: World) -> None:
    """PKJ-053: an outage of somebody's web server would be an outage of their callers at once."""
    caller = await w.c_uri()
    assert (await caller.token()).status_code == 200
    w.server.status = 500
    w.ww.clock.now += fetched_keys.CACHED + 1
    for _ in range(3):
        assert (await caller.token()).status_code == 200
    assert len(w.server.asked) == 2
    w.ww.clock.now += fetched_keys.STALE
    refused(await caller.token())
    w.server.publish(w.key)
    w.ww.clock.now += fetched_keys.COOL_DOWN
    assert (await caller.token()).status_code == 200


GONE: list[tuple[str, dict[str, Any]]] = [
    ("410", {"status": 410}),
    ("404", {"status": 404}),
    ("an empty set", {"body": b'{"keys":[]}'}),
    ("no set", {"body": b"{}"}),
    ("no usable key", {"body": b'{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"1"}]}'}),
    ("symmetric only", {"body": b'{"keys":[{"kty":"oct","k":"AAAA","kid":"1"}]}'}),
    ("a redirect", {"status": 301, "headers": ["location: https://keys.example/new"]}),
    ("not JSON", {"body": b"<html>"}),
]


@pytest.mark.parametrize("gone", [pytest.param(g, id=i) for i, g in GONE])
async def test_keys_that_were_taken_away(w: World, gone: dict[str, Any]) -> None:
    """The owner of a stolen key empties the set; the thief would go on for an hour."""
    caller = await w.c_uri()
    assert (await caller.token()).status_code == 200
    for name, value in gone.items():
        setattr(w.server, name, value)
    w.ww.clock.now += fetched_keys.CACHED + 1
    refused(await caller.token())
    w.server.publish(w.key)
    w.ww.clock.now += fetched_keys.COOL_DOWN
    assert (await caller.token()).status_code == 200


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 429])
async def test_a_server_in_trouble_takes_no_keys_away(w: World, status: int) -> None:
    """An overloaded server of somebody else would be an outage of their callers."""
    caller = await w.c_uri()
    assert (await caller.token()).status_code == 200
    w.server.status = status
    w.ww.clock.now += fetched_keys.CACHED + 1
    assert (await caller.token()).status_code == 200
    assert len(w.server.asked) == 2


async def test_an_unknown_key_right_after_an_ordinary_fetch(w: World) -> None:
    """A client that rotates just after the set was read would be refused for half a minute."""
    caller = await w.c_uri()
    assert (await caller.token()).status_code == 200
    successor = PrivateKey.generate(Algorithm.ES256)
    w.server.publish(w.key, successor)
    assert (await caller.token(header=caller.header(kid=successor.kid), sign=successor.sign)).status_code == 200
    for n in range(5):
        refused(await caller.token(header=caller.header(kid=f"unknown {n}"), sign=successor.sign))
    assert len(w.server.asked) == 2


async def test_one_fetch_for_all_who_wait(w: World) -> None:
    """RAC-006: a hundred first requests would be a hundred fetches."""
    caller = await w.c_uri()
    w.server.gate.clear()
    waiting = [asyncio.ensure_future(caller.token()) for _ in range(100)]
    await w.server.reached.wait()
    w.server.gate.set()
    answers = await asyncio.gather(*waiting)
    assert [answer.status_code for answer in answers] == [200] * 100
    assert len(w.network.connected) == 1


INNER = [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "255.255.255.255", "224.0.0.1", "198.18.0.1", "[::1]", "[::]", "[fc00::1]", "[fe80::1]", "[ff02::1]",
    "[::ffff:127.0.0.1]", "[::ffff:8.8.8.8]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001:db8::1]",
    "192.0.0.8", "192.0.0.9", "192.0.0.170", "192.88.99.1", "[3fff::1]", "[3fff:fff::1]",
]  # fmt: skip
SPELLED = [
    "2130706433", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "127.1", "127.0.0.1.", "017700000001", "[::ffff:7f00:1]",
    "localhost", "localhost.", "LOCALHOST", "a.localhost", "user@keys.example", "user:pw@keys.example", "@keys.example",
    "keys.example\\@127.0.0.1", "[::1%25lo]", "[fe80::1%25eth0]", "", "keys.example:0", "keys.example:99999",
]  # fmt: skip


@pytest.mark.parametrize(
    "host",
    [*(pytest.param(h, id=f"SSR-001 {h}") for h in INNER), *(pytest.param(h, id=f"SSR-002 {h}") for h in SPELLED)],
)
async def test_inner_addresses_are_not_registered(w: World, host: str) -> None:
    """An administrator of one tenant would read what only this machine may read (CVE-2026-1180, CVE-2024-49753)."""
    answer = await w.register(f"https://{host}/jwks")
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == "jwks_uri"
    assert w.network.connected == []


@pytest.mark.parametrize("address", [h.strip("[]") for h in INNER], ids=lambda a: f"SSR-001 SSR-002 named {a}")
async def test_names_that_lead_inside(w: World, address: str) -> None:
    """A name of the attacker's own, or of a service like nip.io, would get around every check of the text."""
    w.network.names["inner.example"] = [[PUBLIC, address]]
    assert (await w.register("https://inner.example/jwks")).status_code == 400
    caller = await w.c_uri()
    w.network.names[HOST] = [[address]]
    refused(await caller.token())
    w.network.names[HOST] = [[PUBLIC, address]]
    w.ww.clock.now += fetched_keys.COOL_DOWN
    refused(await caller.token())
    assert w.network.connected == []


async def test_rebinding(w: World) -> None:
    """SSR-003: a name that is public when it is checked and inner when it is connected to (CVE-2026-55671)."""
    w.network.names[HOST] = [[PUBLIC], [PUBLIC], ["127.0.0.1"]]
    caller = await w.c_uri()
    assert (await caller.token()).status_code == 200
    assert w.network.resolved == [
        HOST,
        HOST,
    ]  # at registration, and once for the fetch: the checked one is connected to
    assert w.network.connected == [(PUBLIC, 443)]
    w.ww.clock.now += fetched_keys.CACHED + 1
    assert (await caller.token()).status_code == 200  # the keys that it had
    assert w.network.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    "uri",
    ["file:///etc/passwd", "ftp://keys.example/", "gopher://keys.example/", "data:application/json,{}", "jar:x!/",
     "http://keys.example/jwks", "HTTP://keys.example/jwks", "javascript:1", "keys.example/jwks", "//keys.example/jwks",
     "https:keys.example", "https://", "https://keys.example/#f", " https://keys.example/", "https://keys.example/\n", ""],
    ids=lambda u: f"SSR-005 {u!r}",
)  # fmt: skip
async def test_only_https(w: World, uri: str) -> None:
    """Another scheme reads files or speaks to services that are no web servers; http is read by everybody between."""
    answer = await w.register(uri)
    assert answer.status_code == 400, answer.text
    assert w.network.resolved == []


async def test_the_scheme_has_no_case(w: World) -> None:
    """CVE-2026-9086: `HTTPS:` is https, and a check of the text alone would say otherwise."""
    caller = await w.c_uri("HTTPS://keys.example/jwks")
    assert (await caller.token()).status_code == 200


@pytest.mark.parametrize("wrong", ["SSR-008 another name", "SSR-008 expired", "SSR-008 nobody's authority"])
async def test_certificates_are_checked(w: World, tmp_path: Path, wrong: str) -> None:
    """Whoever sits between us and the keys would put its own there (CVE-2025-3501)."""
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    context = {
        "SSR-008 another name": lambda: w.authority.context("other.example"),
        "SSR-008 expired": lambda: w.authority.context(days=-1),
        "SSR-008 nobody's authority": lambda: Authority(stranger).context(),
    }[wrong]()
    impostor = KeyServer()
    impostor.publish(w.key)
    caller = await w.c_uri()
    async with impostor.serving(context):
        w.server.port, right = impostor.port, w.server.port
        refused(await caller.token())
        assert impostor.asked == []
    w.server.port = right
    w.ww.clock.now += fetched_keys.COOL_DOWN
    assert (await caller.token()).status_code == 200


async def test_every_failure_looks_the_same(w: World) -> None:
    """The answer would tell a port that is open from one that is closed, and a page from an error."""
    caller = await w.c_uri()
    answers = []
    for broken in ({"status": 500}, {"status": 200, "body": b"no"}, {"status": 302}):
        for name, value in broken.items():
            setattr(w.server, name, value)
        answers.append(await caller.token())
        w.ww.clock.now += fetched_keys.COOL_DOWN
    w.server.port = 1
    answers.append(await caller.token())
    w.ww.clock.now += fetched_keys.COOL_DOWN
    w.network.names[HOST] = []
    answers.append(await caller.token())
    assert len({a.headers.pop("x-request-id") for a in answers}) == len(answers)
    assert {(a.status_code, a.content, tuple(a.headers.items())) for a in answers} == {
        (401, answers[0].content, tuple(answers[0].headers.items()))
    }
    failures = set()
    for uri in (URI, "https://nowhere.example/", "https://127.0.0.1/", "file:///etc/passwd"):
        with pytest.raises(fetched_keys.FetchFailed) as told:
            await w.ww.services.fetch(uri, "t")
        failures.add(str(told.value))
    assert len(failures) == 1


async def test_the_address_is_checked_when_it_changes(w: World) -> None:
    """SSR-001: a harmless address would be registered, and then replaced."""
    caller = await w.c_uri()
    path = f"/applications/{caller.client_id}"
    assert (await w.ww.call("PATCH", path, {"jwks_uri": "https://169.254.169.254/"})).status_code == 400
    assert (await w.ww.call("PATCH", path, {"jwks_uri": "https://nowhere.example/"})).status_code == 400
    w.network.names["other.example"] = [[PUBLIC]]
    changed = await w.ww.call("PATCH", path, {"jwks_uri": "https://other.example/keys"})
    assert changed.json()["jwks_uri"] == "https://other.example/keys"
    other = PrivateKey.generate(Algorithm.ES256)
    by_value = await w.ww.call("PATCH", path, {"jwks": {"keys": [other.public.to_jwk()]}})
    assert by_value.json()["jwks_uri"] is None
    refused(await caller.token())
    assert (await caller.token(header=caller.header(kid=other.kid), sign=other.sign)).status_code == 200
    assert w.network.connected == []


async def test_loopback_for_development(tmp_path: Path) -> None:
    """Whoever tries jwks_uri on a laptop could not; and whoever leaves the switch on in production must not start."""
    server, key = KeyServer(), PrivateKey.generate(Algorithm.ES256)
    server.publish(key)
    real = {"network": httpcore.AnyIOBackend(), "resolve": fetch.system_resolver}
    async with server.serving(None), instance(tmp_path, world_of=real, fetch_from_loopback=True) as ww:
        api = await ww.api("https://rs1.example/", "a:read")
        for host in ("127.0.0.1", "localhost"):
            caller = await Caller.register(ww, api, host, key, jwks_uri=f"http://{host}:{server.port}/jwks")
            assert (await caller.token()).status_code == 200
        for uri in ("http://8.8.8.8/", "https://10.0.0.1/", "http://10.0.0.1/"):
            body = {"name": "x", "auth_method": "private_key_jwt", "jwks_uri": uri}
            assert (await ww.call("POST", "/applications", body)).status_code == 400
    with pytest.raises(SettingsError, match="loopback"):
        Settings(host="0.0.0.0", tls_cert="c", tls_key="k", fetch_from_loopback=True).check()


async def test_other_ports_only_by_a_setting(w: World) -> None:
    """Whoever registers an address could have us talk to each port of every machine."""
    for port in (80, 8443, 6379, 22):
        answer = await w.register(f"https://{HOST}:{port}/jwks")
        assert (answer.status_code, answer.json()["field"]) == (400, "jwks_uri")
    assert (await w.register(f"https://{HOST}:443/jwks")).status_code == 201
    assert w.network.connected == []


@pytest.mark.parametrize("ports", ["", "x", "443,", "0", "65536", "-1", "443,443.0"])
def test_ports_that_are_none(ports: str) -> None:
    """A typing error would close or open every port."""
    with pytest.raises(SettingsError, match="WATCHWORD_FETCH_PORTS"):
        Settings(fetch_ports=ports).check()


async def test_a_port_that_is_allowed(tmp_path: Path) -> None:
    """An issuer at port 8443 could not be used at all."""
    authority, server, key = Authority(tmp_path), KeyServer(), PrivateKey.generate(Algorithm.ES256)
    server.publish(key)
    network = Network(server)
    outside = {"network": network, "resolve": network.resolve}
    async with (
        server.serving(authority.context()),
        instance(tmp_path, world_of=outside, fetch_ca_file=str(authority.file), fetch_ports="443, 8443") as ww,
    ):
        api = await ww.api("https://rs1.example/", "a:read")
        caller = await Caller.register(ww, api, "c_uri", key, jwks_uri=f"https://{HOST}:8443/jwks")
        assert (await caller.token()).status_code == 200
        assert network.connected == [(PUBLIC, 8443)]


async def test_one_host_is_not_flooded(w: World) -> None:
    """Many registered applications would make us the flood against somebody's server; the keys that we have stay."""
    for n in range(LIMIT.burst):
        await w.ww.services.fetch(f"{URI}?{n}", "a tenant")
    with pytest.raises(fetched_keys.FetchFailed) as told:
        await w.ww.services.fetch(f"https://{HOST.upper()}./jwks", "a tenant")
    assert (told.value.detail, told.value.answered) == ("too many fetches from this host", False)
    assert len(w.server.asked) == LIMIT.burst
    await w.ww.services.fetch(URI, "another tenant")  # has its own share of the host
    w.ww.clock.now += 1
    await w.ww.services.fetch(URI, "a tenant")


async def test_no_fetch_for_a_disabled_application(w: World) -> None:
    """Who was thrown out could still make us fetch from wherever its address leads."""
    caller = await w.c_uri()
    assert (await w.ww.call("PATCH", f"/applications/{caller.client_id}", {"enabled": False})).status_code == 200
    refused(await caller.token())
    assert w.network.connected == []


@pytest.mark.parametrize(
    "changed",
    [{"aud": "https://other.example"}, {"exp": 1}, {"iat": 4_000_000_000}, {"jti": None}, {"exp": None}],
    ids=repr,
)
async def test_no_fetch_for_what_is_refused_anyway(w: World, changed: dict[str, Any]) -> None:
    """Anybody who knows a client id could make us fetch with an assertion that no key can save."""
    caller = await w.c_uri()
    refused(await caller.token(**changed))
    refused(await caller.token(header={"alg": "HS256", "kid": "x"}, sign=lambda _: b"\1" * 32))
    refused(await caller.token(header=caller.header(jku="https://evil.example/")))
    assert w.network.connected == []
    assert (await caller.token()).status_code == 200
