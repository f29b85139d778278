"""RFC 7628 as its cases tell it: whole exchanges, between our two sides and against bytes that are not ours."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters import contract
from tests.adapters.contract import AUDIENCE, CLIENT, SCOPE, Issuer

from watchword.resource import Claims, Fetch, Verifier
from watchword.sasl import (
    MAX_MESSAGE,
    Accepted,
    Challenge,
    Malformed,
    NotAuthorized,
    OAuthBearerClient,
    OAuthBearerServer,
    Refused,
    SaslError,
    decode_line,
    encode_line,
    read_message,
)

CONFIGURATION = "https://id.example/t/acme/.well-known/openid-configuration"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with contract.issuer() as made:
        yield made


@pytest.fixture(scope="module")
def verifier(issuer: Issuer) -> Verifier:
    return Verifier(issuer.url, audience=AUDIENCE)


def server(verifier: Verifier, scope: str | None = None) -> OAuthBearerServer[Claims]:
    """As a mail server would build it."""
    return OAuthBearerServer(
        lambda token: verifier.verify(token, scope=scope), scope=SCOPE, openid_configuration=CONFIGURATION
    )


def answer(exchange: OAuthBearerServer[Claims], message: bytes) -> Accepted[Claims]:
    """The outcome where a success is expected."""
    outcome = exchange.respond(message)
    assert isinstance(outcome, Accepted)
    return outcome


def challenge(exchange: OAuthBearerServer[Claims], message: bytes) -> dict[str, Any]:
    """The members of the challenge where one is expected."""
    outcome = exchange.respond(message)
    assert isinstance(outcome, Challenge)
    return dict(json.loads(outcome.data))


def fails(verifier: Verifier, message: bytes) -> str:
    """Fails at once, and the exchange is over: a good message does not mend it. The reason."""
    exchange = server(verifier)
    with pytest.raises(Malformed) as caught:
        exchange.respond(message)
    with pytest.raises(Malformed, match="over"):
        exchange.respond(b"n,,\1auth=Bearer a\1\1")
    return str(caught.value)


# -- messages that are accepted -------------------------------------------------------------------


def test_sas_001_happy_path(issuer: Issuer, verifier: Verifier) -> None:
    """SAS-001: the identity would come from what the client says, and not from its token."""
    token = issuer.token()
    message = f"n,a={CLIENT},\1host=h\1port=143\1auth=Bearer {token}\1\1".encode()
    accepted = answer(server(verifier), message)
    assert (accepted.identity, accepted.verified.client_id) == (CLIENT, CLIENT)
    assert OAuthBearerClient(token, authzid=CLIENT, host="h", port=143).respond(b"") == message


def test_sas_001_the_rfcs_own_example(shared_dir: Path) -> None:
    """SAS-001: our idea of the bytes would differ from the RFC's."""
    vectors = json.loads((shared_dir / "vectors" / "rfc_vectors.json").read_text())["vectors"]
    line = next(v["sasl_initial_response_b64"] for v in vectors if v["id"] == "rfc7628-4.1").encode()
    said = read_message(decode_line(line))
    assert (said.authzid, said.unverified_host, said.unverified_port) == (
        "user@example.com",
        "server.example.com",
        "143",
    )
    assert said.unverified_token is not None
    client = OAuthBearerClient(said.unverified_token, authzid=said.authzid, host="server.example.com", port=143)
    assert encode_line(client.respond(b"")) == line


def test_sas_002_minimal_message(issuer: Issuer, verifier: Verifier) -> None:
    """SAS-002: Kafka's and curl's shortest message would be refused."""
    accepted = answer(server(verifier), f"n,,\1auth=Bearer {issuer.token()}\1\1".encode())
    assert accepted.identity == CLIENT


async def test_sas_002_in_an_event_loop(issuer: Issuer, verifier: Verifier) -> None:
    """SAS-002: an asyncio server would have to block its loop to verify."""
    exchange = OAuthBearerServer[Claims](averify=verifier.averify)
    outcome = await exchange.arespond(f"n,,\1auth=bearer  {issuer.token()}\1\1".encode())
    assert isinstance(outcome, Accepted)
    refusing = OAuthBearerServer[Claims](averify=verifier.averify)
    refused = await refusing.arespond(b"n,,\1auth=Bearer a.b.c\1\1")
    assert refused == Challenge(b'{"status":"invalid_token"}')
    nothing = OAuthBearerServer[Claims](averify=verifier.averify)
    assert await nothing.arespond(b"n,,\1\1") == Challenge(b'{"status":"invalid_token"}')
    with pytest.raises(RuntimeError, match="averify"):
        await OAuthBearerServer[Claims](verifier.verify).arespond(b"")
    with pytest.raises(RuntimeError, match="verify"):
        exchange.respond(b"")


def test_sas_003_flag_y(issuer: Issuer, verifier: Verifier) -> None:
    """SAS-003: a client that knows channel binding, and sees that we do not, could not log in."""
    assert answer(server(verifier), f"y,,\1auth=Bearer {issuer.token()}\1\1".encode()).identity == CLIENT


def test_sas_012_unknown_key(issuer: Issuer, verifier: Verifier) -> None:
    """SAS-012: an extension (Kafka's, say) would break every client that sends it."""
    message = f"n,,\1foo=b\tar\r\n\1auth=Bearer {issuer.token()}\1\1".encode()
    assert answer(server(verifier), message).identity == CLIENT


@pytest.mark.parametrize("pair", ["host=other", "port=1", "port=not a number", "host="])
def test_sas_016_host_and_port_are_only_told(pair: str, issuer: Issuer, verifier: Verifier) -> None:
    """SAS-016: behind a proxy the client's idea of the address is another; it is ignored, and named unverified."""
    message = f"n,,\1{pair}\1auth=Bearer {issuer.token()}\1\1".encode()
    assert answer(server(verifier), message).identity == CLIENT
    said = read_message(message)
    assert f"{pair.split('=')[1]}" in (said.unverified_host, said.unverified_port)


# -- messages that fail at once -------------------------------------------------------------------


def test_sas_004_channel_binding(issuer: Issuer, verifier: Verifier) -> None:
    """SAS-004: the client would believe that its TLS channel was bound, and nothing had looked."""
    assert "channel binding" in fails(verifier, f"p=tls-unique,,\1auth=Bearer {issuer.token()}\1\1".encode())


@pytest.mark.parametrize("header", ["", "n", "n,", "n,,,", "F,n,,", "N,,", "x,,", "n,b=c,", "n,a=,", "n,a=x=y,",
                                    "n,a===2C3D,", "n,a=\0,", "n,a=\udcff,", ",n,,", "n,a=b,c"])  # fmt: skip
def test_sas_004_other_headers(header: str, issuer: Issuer, verifier: Verifier) -> None:
    """SAS-004: a header read loosely ends with somebody else's authzid."""
    fails(verifier, f"{header}\1auth=Bearer {issuer.token()}\1\1".encode("utf-8", "surrogateescape"))


def test_sas_007_authzid_of_another(issuer: Issuer, verifier: Verifier) -> None:
    """SAS-007: any application could read any mailbox."""
    exchange = server(verifier)
    with pytest.raises(NotAuthorized) as caught:
        exchange.respond(f"n,a=other,\1auth=Bearer {issuer.token()}\1\1".encode())
    assert "other" not in str(caught.value).replace("another", "")
    with pytest.raises(Malformed, match="over"):
        exchange.respond(f"n,,\1auth=Bearer {issuer.token()}\1\1".encode())


def test_sas_007_a_rule_of_ones_own(issuer: Issuer, verifier: Verifier) -> None:
    """SAS-007: a mail gateway that serves many boxes could not say who may open which; escapes are undone for it."""
    boxes = {(CLIENT, "a,b=c"): "a,b=c"}

    def authorize(claims: Claims, authzid: str) -> str:
        try:
            return boxes[claims.subject, authzid]
        except KeyError:
            raise NotAuthorized("not its box") from None

    client = OAuthBearerClient(issuer.token(), authzid="a,b=c")
    exchange = OAuthBearerServer(verifier.verify, authorize=authorize)
    assert answer(exchange, client.respond(b"")).identity == "a,b=c"
    with pytest.raises(NotAuthorized):
        OAuthBearerServer(verifier.verify, authorize=authorize).respond(
            f"n,,\1auth=Bearer {issuer.token()}\1\1".encode()
        )


@pytest.mark.parametrize("end", ["\1", "", "\1\1\1", "\1x", "\1\1x", "\1\1\n"])
def test_sas_008_no_final_separator(end: str, issuer: Issuer, verifier: Verifier) -> None:
    """SAS-008: a message that was cut would pass for a whole one, its last value shortened."""
    fails(verifier, f"n,,\1auth=Bearer {issuer.token()}{end}".encode())


@pytest.mark.parametrize("key", ["auth", "host", "port", "foo", "AUTH"])
def test_sas_011_a_key_twice(key: str, issuer: Issuer, verifier: Verifier) -> None:
    """SAS-011: a proxy and we would each pick another of the two."""
    twice = f"n,,\1{key}=Bearer a\1{key.lower()}=Bearer b\1auth=Bearer {issuer.token()}\1\1"
    assert "twice" in fails(verifier, twice.encode())


@pytest.mark.parametrize("pair", [b"k1=v", b"=v", b"k-y=v", b"k y=v", b"key", b"\xc3\xa4=v", b"k=\0", b"k=\x02",
                                  b"k=\x1f", b"k=\x7f", b"k=\xff", b"k=\xc3\xa4", b"\0=v"])  # fmt: skip
def test_sas_013_bad_pairs(pair: bytes, issuer: Issuer, verifier: Verifier) -> None:
    """SAS-013: what the ABNF forbids would reach logs and other parsers."""
    fails(verifier, b"n,,\1" + pair + b"\1auth=Bearer " + issuer.token().encode() + b"\1\1")


@pytest.mark.parametrize("token", [b"a b", b"a\xe4", b"", b" ", b"a\n", b"a,b", b'"a"', b"=", b"a=b", b"a\t"])
def test_sas_014_token_is_no_b64token(token: bytes, verifier: Verifier) -> None:
    """SAS-014: a verifier would be asked about bytes that no token can have."""
    asked: list[str] = []

    def verify(unverified_token: str) -> Claims:
        asked.append(unverified_token)
        return verifier.verify(unverified_token)

    with pytest.raises(Malformed):
        OAuthBearerServer(verify).respond(b"n,,\1auth=Bearer " + token + b"\1\1")
    assert asked == []


@pytest.mark.parametrize(
    "line",
    [b"=", b" bixhPQ==", b"bixh PQ==", b"bixhPQ==\r\n", b"bixhPQ=", b"bixhPR==", b"bixhPQ==bixhPQ==", b"bix-_A==",
     b"\xff", b"a" * (MAX_MESSAGE + 4), b"*"],
)  # fmt: skip
def test_sas_023_base64_of_the_message(line: bytes) -> None:
    """SAS-023: a lax decoder gives one message many spellings, and an unbounded one the server's memory."""
    with pytest.raises(Malformed):
        decode_line(line)


def test_sas_023_an_empty_line(verifier: Verifier) -> None:
    """SAS-023: nothing at all is a line, and is no message."""
    assert "gs2" in fails(verifier, decode_line(b""))


def test_sas_023_the_cap_is_on_the_message_too(verifier: Verifier) -> None:
    """SAS-023: a protocol without base64 (Kafka) would have no cap; at the cap itself nothing breaks."""
    pad = b"n,,\1foo=%s\1auth=\1\1"
    fits = pad % (b"x" * (MAX_MESSAGE - len(pad) + 2))
    assert len(fits) == MAX_MESSAGE
    assert challenge(server(verifier), fits)["status"] == "invalid_token"
    assert "bytes" in fails(verifier, fits[:8] + b"x" + fits[8:])
    full = base64.b64encode(b"x" * (MAX_MESSAGE // 4 * 3))
    assert len(decode_line(full)) == MAX_MESSAGE // 4 * 3


# -- the error challenge, server side -------------------------------------------------------------


@pytest.mark.parametrize("message", [b"n,,\1\1", b"n,,\1auth=\1\1", b"n,,\1host=h\1\1"])
def test_sas_010_no_token_asks_for_discovery(message: bytes, verifier: Verifier) -> None:
    """SAS-010: a client that has no token yet would not learn where to get one."""
    told = challenge(server(verifier), message)
    assert told == {"status": "invalid_token", "scope": SCOPE, "openid-configuration": CONFIGURATION}


@pytest.mark.parametrize("auth", [b"Basic abc", b"DPoP a.b.c", b"Bearerx y"])
def test_sas_010_another_scheme(auth: bytes, verifier: Verifier) -> None:
    """SAS-010: a bound token would be taken as a bearer token, or a password be verified as a token."""
    assert challenge(server(verifier), b"n,,\1auth=" + auth + b"\1\1")["status"] == "invalid_request"


def test_sas_017_expired_token(issuer: Issuer, verifier: Verifier) -> None:
    """SAS-017: the client would not learn that a new token helps; and the challenge would tell more than that."""
    exchange = server(verifier)
    expired = OAuthBearerClient(issuer.token(exp=int(time.time()) - 1))
    told = challenge(exchange, expired.respond(b""))
    assert told == {"status": "invalid_token", "scope": SCOPE, "openid-configuration": CONFIGURATION}
    answered = expired.respond(json.dumps(told).encode())
    assert answered == b"\1"
    with pytest.raises(Refused) as caught:
        exchange.respond(answered)
    assert caught.value.status == "invalid_token"
    assert "exp" in str(caught.value.__cause__), "the operator's reason is lost"
    with pytest.raises(Refused, match="invalid_token") as here:
        expired.finish(succeeded=False)
    assert here.value.scope == SCOPE


def test_sas_017_wrong_scope(issuer: Issuer, verifier: Verifier) -> None:
    """SAS-017: a good token without the scope would be thrown away and fetched again, for ever."""
    message = OAuthBearerClient(issuer.token(scope="mail:send")).respond(b"")
    told = challenge(server(verifier, "mail:read"), message)
    assert (told["status"], told["scope"]) == ("insufficient_scope", "mail:read")


def test_sas_017_keys_are_away() -> None:
    """SAS-017: clients would drop good tokens while the issuer's keys cannot be had."""
    lonely = Verifier("http://127.0.0.1:9/t/x", audience=AUDIENCE, fetch=Fetch(timeout=1))
    message = OAuthBearerClient("a.b.c").respond(b"")
    told = challenge(OAuthBearerServer(lonely.verify), message)
    assert told == {"status": "temporarily_unavailable"}


def test_sas_017_a_fault_of_the_verifier_is_not_a_refusal() -> None:
    """SAS-017: a bug in the verifier would look like a bad token, and nobody would look for it; nor does it let in."""

    def verify(_: str) -> Claims:
        raise ZeroDivisionError

    exchange = OAuthBearerServer(verify)
    with pytest.raises(ZeroDivisionError):
        exchange.respond(b"n,,\1auth=Bearer a\1\1")
    with pytest.raises(Malformed, match="over"):
        exchange.respond(b"n,,\1auth=Bearer a\1\1")


@pytest.mark.parametrize("second", ["token", "", "\1\1", "x" * 1_000_000])
def test_sas_020_anything_else_after_the_challenge(second: str, issuer: Issuer, verifier: Verifier) -> None:
    """SAS-020: a second guess within one exchange would go around the limits on logins."""
    exchange = server(verifier)
    challenge(exchange, b"n,,\1auth=\1\1")
    sent = f"n,,\1auth=Bearer {issuer.token()}\1\1" if second == "token" else second
    for _ in range(2):
        with pytest.raises(Malformed):
            exchange.respond(sent.encode())


# -- the client's side ----------------------------------------------------------------------------


def test_sas_021_the_dummy_is_sent_once(shared_dir: Path) -> None:
    """SAS-021: without the dummy the server waits; with two, the next login of the connection is out of step."""
    vectors = json.loads((shared_dir / "vectors" / "rfc_vectors.json").read_text())["vectors"]
    vector = next(v for v in vectors if v["id"] == "rfc7628-4.3-error")
    client = OAuthBearerClient("a.b.c")
    client.respond(b"")
    sent = client.respond(json.dumps(vector["server_challenge_json"]).encode())
    assert encode_line(sent).decode() == vector["client_dummy_response_b64"]
    with pytest.raises(Malformed, match="again"):
        client.respond(b"{}")
    with pytest.raises(Refused) as caught:
        client.finish(succeeded=False)
    assert (caught.value.status, caught.value.scope) == ("invalid_token", "example_scope")
    assert "a.b.c" not in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"status":1}', b'{"scope":"a"}', b"\xff", b"[" * 60_000,
                                  b'{"status":"' + b"x" * 70_000 + b'"}'])  # fmt: skip
def test_sas_021_a_challenge_that_cannot_be_read(text: bytes) -> None:
    """SAS-021: a server's nonsense would leave as a parser's exception, and the login hang."""
    client = OAuthBearerClient("a")
    client.respond(b"")
    assert client.respond(text) == b"\1"
    with pytest.raises(Refused) as caught:
        client.finish(succeeded=False)
    assert caught.value.status is None


def test_sas_021_failure_at_once() -> None:
    """SAS-021: a server that fails without a challenge would be a success, or another exception."""
    client = OAuthBearerClient("a")
    client.respond(b"")
    with pytest.raises(Refused) as caught:
        client.finish(succeeded=False)
    assert caught.value.status is None


def test_sas_021_no_success_after_a_challenge() -> None:
    """SAS-021: a server in the middle could say no, then yes, and be believed."""
    client = OAuthBearerClient("a")
    client.respond(b"")
    client.respond(b'{"status":"invalid_token"}')
    with pytest.raises(Malformed):
        client.finish(succeeded=True)
    early = OAuthBearerClient("a")
    with pytest.raises(Malformed):
        early.finish(succeeded=True)
    talkative = OAuthBearerClient("a")
    with pytest.raises(Malformed, match="before"):
        talkative.respond(b"220 hello")
    with pytest.raises(SaslError):
        talkative.respond(b"")


def test_sas_022_the_servers_discovery_is_not_followed() -> None:
    """SAS-022: a hostile server would name its own issuer and be handed the client's secret there."""
    client = OAuthBearerClient("a")
    client.respond(b"")
    hostile = {
        "status": "invalid_token",
        "openid-configuration": "https://evil.example/.well-known/openid-configuration",
    }
    assert client.respond(json.dumps(hostile).encode()) == b"\1"
    with pytest.raises(Refused) as caught:
        client.finish(succeeded=False)
    assert caught.value.unverified_openid_configuration == hostile["openid-configuration"]
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("token", "more"),
    [
        ("a b", {}),
        ("", {}),
        ("a\1", {}),
        ("ä", {}),
        ("a", {"authzid": "\0"}),
        ("a", {"authzid": "\1"}),
        ("a", {"host": "h\1auth=Bearer b"}),
        ("a", {"host": "ä"}),
    ],
)
def test_the_client_sends_nothing_that_is_read_otherwise(token: str, more: dict[str, Any]) -> None:
    """A host name from elsewhere could bring a second auth key into our message."""
    with pytest.raises(ValueError, match=r"RFC 6750|control|ASCII"):
        OAuthBearerClient(token, **more)
