"""The rules of the NATS callout; that a real server lives by them is shown in tests/brokers/test_nats.py."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import nkeys
import pytest

from watchword.sasl import Malformed
from watchword.sasl.nats_callout import MAX_REQUEST, Callout, Login, is_subject, read_login

NOW = 1_800_000_000.0
HEADER = b'{"typ":"JWT","alg":"ed25519-nkey"}'
LOGIN = Login("NSERVER", "UCLIENT", "a.b.c")


def key(kind: int, byte: bytes = b"k") -> nkeys.KeyPair:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(byte * 32, kind)))


def name(pair: nkeys.KeyPair) -> str:
    return bytes(pair.public_key).decode()


SERVER, ACCOUNT = key(nkeys.PREFIX_BYTE_SERVER), key(nkeys.PREFIX_BYTE_ACCOUNT)


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: Any, pair: nkeys.KeyPair = SERVER) -> bytes:
    """A request as a server signs it."""
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    message = f"{text(HEADER)}.{text(body)}".encode()
    return message + b"." + text(pair.sign(message)).encode()


def asked(issuer: str = name(SERVER), **more: Any) -> dict[str, Any]:
    """The claims of a request."""
    options = {"auth_token": "a.b.c"}
    nats = {"server_id": {"id": issuer}, "user_nkey": "UCLIENT", "connect_opts": options, **more.pop("nats", {})}
    return {"iss": issuer, "aud": "nats-authorization-request", "nats": nats, **more}


def answered(answer: bytes) -> dict[str, Any]:
    """What the callout said."""
    part = answer.split(b".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    return said


def test_a_login_is_read() -> None:
    """Nobody could log in; a token in the log would be everybody's."""
    login = read_login(signed(asked()))
    assert login == Login(name(SERVER), "UCLIENT", "a.b.c")
    assert "a.b.c" not in repr(login)


@pytest.mark.parametrize(
    ("options", "token"),
    [({"pass": "p"}, "p"), ({"auth_token": "t", "pass": "p"}, "t"), ({}, ""), ({"user": "x"}, "")],
)
def test_where_the_token_is(options: dict[str, str], token: str) -> None:
    """Clients with a password field only would be shut out; a client that sends nothing must reach the judge."""
    assert read_login(signed(asked(nats={"connect_opts": options}))).unverified_token == token


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"a.b", id="two parts"),
        pytest.param(b"xkv1" + b"\x00\xff" * 40, id="encrypted by xkey"),
        pytest.param(signed(b"{"), id="no JSON"),
        pytest.param(signed([]), id="no object"),
        pytest.param(signed({"iss": name(SERVER)}), id="no nats"),
        pytest.param(signed(asked(nats={"user_nkey": 7})), id="a number for a name"),
        pytest.param(signed(asked(nats={"connect_opts": {"auth_token": ["a"]}})), id="a list for a token"),
        pytest.param(signed(asked(aud="another")), id="for something else"),
        pytest.param(signed(asked(nats={"server_id": {"id": "NOTHER"}})), id="of another server"),
        pytest.param(signed(asked(), key(nkeys.PREFIX_BYTE_SERVER, b"o")), id="signed by another"),
        pytest.param(signed(asked())[:-4] + b"AAAA", id="a changed signature"),
        pytest.param(signed(asked()).rpartition(b".")[0] + b".", id="no signature"),
        pytest.param(signed(asked(issuer="")), id="no issuer"),
        pytest.param(signed(asked(issuer="not base32!")), id="an issuer that is no key"),
        pytest.param(signed(asked(issuer=name(SERVER)[:-1] + "A")), id="a wrong checksum"),
        pytest.param(signed(asked(issuer="Ñ" + name(SERVER)[1:])), id="an issuer beyond ASCII"),
    ],
)
def test_a_malformed_request(request_: bytes) -> None:
    """Anything that gets in here would be judged as a login, or end the service for everybody."""
    with pytest.raises(Malformed):
        read_login(request_)


@pytest.mark.parametrize(
    "kind", [nkeys.PREFIX_BYTE_USER, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_CLUSTER]
)
def test_a_key_of_another_kind(kind: int) -> None:
    """Any user with a key of his own would speak as a server."""
    pair = key(kind)
    with pytest.raises(Malformed, match="not a server's nkey"):
        read_login(signed(asked(issuer=name(pair)), pair))


def test_an_oversized_request() -> None:
    """A client's options would fill the memory of the service."""
    fits = signed(asked(filler=""))
    room = (MAX_REQUEST - len(fits)) * 3 // 4 - 8
    assert read_login(signed(asked(filler="x" * room)))
    with pytest.raises(Malformed, match="more than 65536 bytes"):
        read_login(signed(asked(filler="x" * (room + 64))))


@dataclass(frozen=True)
class Bearer:
    """A good token."""

    scopes: frozenset[str]
    client_id: str = "dev-1"
    expires_at: float = NOW + 60.9
    raw: Any = None


def admitted(*scopes: str) -> dict[str, Any]:
    """The answer to a good token with these scopes."""
    answer = Callout(ACCOUNT, "APP").admit(LOGIN, Bearer(frozenset(scopes)), now=NOW, token_id="id")
    header, body, signature = answer.split(b".")
    padded = base64.urlsafe_b64decode(signature + b"=" * (-len(signature) % 4))
    assert ACCOUNT.verify(header + b"." + body, padded)
    return answered(answer)


def test_admitted() -> None:
    """The server would refuse the answer, or a login outlive its token, or reach another account."""
    said = admitted("nats.pub:devices.dev-1.>", "nats.sub:devices.dev-1.set", "openid")
    assert (said["aud"], said["sub"], said["iss"]) == ("NSERVER", "UCLIENT", name(ACCOUNT))
    user = answered(said["nats"]["jwt"].encode())
    assert (user["aud"], user["sub"], user["exp"], user["name"]) == ("APP", "UCLIENT", NOW + 60, "dev-1")
    assert user["nats"]["pub"] == {"allow": ["devices.dev-1.>"]}
    assert user["nats"]["sub"] == {"allow": ["devices.dev-1.set"]}


def test_nothing_is_not_everything() -> None:
    """To NATS an empty list of subjects allows all of them."""
    user = answered(admitted("nats.sub:news")["nats"]["jwt"].encode())
    assert user["nats"]["pub"] == {"deny": [">"]}


@pytest.mark.parametrize(
    "scopes",
    [(), ("openid",), ("nats.pub:",), ("nats.pub:a..b", "nats.sub:a"), ("nats.pub:a b",), ("rabbitmq.read:a",)],
)
def test_refused(scopes: tuple[str, ...]) -> None:
    """A token that says nothing of NATS, or something that is no subject, would log in."""
    said = admitted(*scopes)["nats"]
    assert "jwt" not in said
    assert said["error"]


@pytest.mark.parametrize("subject", ["a", "a.b", "*", ">", "a.*.b", "a.>", "*.>", "$JS.API.>", "devices.dev-1"])
def test_a_subject(subject: str) -> None:
    """A device could not be given it."""
    assert is_subject(subject)


@pytest.mark.parametrize(
    "subject", ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\n", ">.a", "a.>.b", "a*", "a.b*", "a>", "**", "a.>>"]
)
def test_no_subject(subject: str) -> None:
    """NATS reads it another way than whoever wrote the grant."""
    assert not is_subject(subject)
