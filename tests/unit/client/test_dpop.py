"""The client library by DPoP (RFC 9449): through every HTTP library, with nonces of both servers and wrong clocks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from cryptography import x509
from tests.support.bound_api import BoundApi, bound_api
from tests.support.certificates import cn, issue
from tests.unit.client.test_adapters import DOORS, Door, by_httpx

from watchword.client import ClientCredentials, DiskCache, DpopKey, InvalidAnswer, TokenRefused
from watchword.client.dpop import ORIGINS
from watchword.jose import Algorithm, PrivateKey, UnacceptableKey, decode_unverified
from watchword.jose.encoding import json_object
from watchword.resource import Dpop


@pytest.fixture
def api() -> Iterator[BoundApi]:
    """An issuer and an API that take nothing but bound tokens."""
    with bound_api() as listening:
        yield listening


def credentials(api: BoundApi, key: DpopKey | None = None, **options: object) -> ClientCredentials:
    return ClientCredentials(api.url, "app", "a-secret", dpop=key or DpopKey.generate(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("door", DOORS)
def test_each_request_is_signed(api: BoundApi, door: Door) -> None:
    """The second request would show the proof of the first, and be refused; or the query break the proof."""
    auth = credentials(api)
    assert [door(auth, f"{api.url}/charges?limit={n}") for n in range(2)] == [200, 200]
    assert door(auth, f"{api.url}/a%20b", content=b"charge") == 200
    assert api.called == [200, 200, 200]
    assert len(api.asked) == 1
    assert "ath" not in api.asked[0]


@pytest.mark.parametrize("door", DOORS)
def test_the_api_wants_nonces(api: BoundApi, door: Door) -> None:
    """DPO-040: a good token would be thrown away for want of a nonce, or each request be sent twice for ever."""
    api.protect(Dpop(nonce_key=bytes(32)))
    auth = credentials(api)
    assert door(auth, f"{api.url}/charges", content=b"charge") == 200
    assert door(auth, f"{api.url}/charges") == 200
    assert api.called == [401, 200, 200]
    assert len(api.asked) == 1


@pytest.mark.parametrize("door", DOORS)
def test_the_token_is_refused(api: BoundApi, door: Door) -> None:
    """A revoked token would be sent until it expires."""
    auth = credentials(api)
    payload = decode_unverified(auth.token().value).unverified_payload
    api.revoked.add(str(json_object(payload)["jti"]))
    assert door(auth, f"{api.url}/charges") == 200
    assert (api.called, len(api.asked)) == ([401, 200], 2)


@pytest.mark.parametrize("door", DOORS)
def test_an_api_whose_nonces_never_suit(api: BoundApi, door: Door) -> None:
    """A broken API would be called without an end."""
    api.forgetful = True
    assert door(credentials(api), f"{api.url}/charges") == 401
    assert api.called == [401, 401]


class Guarded(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Calls judged by the product. Where they went is read from the proof, and compared by the test: ports differ."""

    def __init__(self, api: BoundApi) -> None:
        self.api = api

    def service(self, details: Any) -> Any:
        sent = dict(details.invocation_metadata)
        url = str(json_object(decode_unverified(sent["dpop"]).unverified_payload)["htu"])
        parts = urlsplit(url)
        self.api.protect(Dpop(base_url=f"{parts.scheme}://{parts.netloc}"))
        answer = self.api.call("POST", details.method, sent)
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: f"{answer.status} {url}".encode())


@contextmanager
def guarded(api: BoundApi, credentials: grpc.ServerCredentials) -> Iterator[int]:
    """A server; its port."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Guarded(api),))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def test_grpc_calls_are_signed(api: BoundApi, tmp_path: Path) -> None:
    """The guide says that gRPC works, too."""
    held = issue(cn("localhost"), time.time(), names=[x509.DNSName("localhost")])
    certificate, key = (Path(file).read_bytes() for file in held.files(tmp_path, "server"))
    trusted = grpc.ssl_channel_credentials(certificate)
    both = grpc.composite_channel_credentials(trusted, credentials(api).for_grpc())
    with guarded(api, grpc.ssl_server_credentials([(key, certificate)])) as port:
        options = [("grpc.ssl_target_name_override", "localhost")]
        with grpc.secure_channel(f"127.0.0.1:{port}", both, options) as channel:
            call = channel.unary_unary("/payments.Payments/Charge")
            told = [call(b"", timeout=30).decode().split() for _ in range(2)]
    assert [status for status, _ in told] == ["200", "200"]
    assert all(url.startswith("https://") and url.endswith("/payments.Payments/Charge") for _, url in told)


def test_grpc_without_an_address(api: BoundApi) -> None:
    """The call would fail for a reason that nobody sees: a local channel has no address that a proof could name."""
    both = grpc.composite_channel_credentials(grpc.local_channel_credentials(), credentials(api).for_grpc())
    with (
        guarded(api, grpc.local_server_credentials()) as port,
        grpc.secure_channel(f"127.0.0.1:{port}", both) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        channel.unary_unary("/payments.Payments/Charge")(b"", timeout=30)
    assert "http or https URL" in refused.value.details()


def test_the_issuer_wants_nonces(api: BoundApi) -> None:
    """DPO-038: no token could be got from such an issuer, or every renewal would cost two requests."""
    api.issuer_nonce = "first"
    auth = credentials(api)
    assert by_httpx(auth, f"{api.url}/charges") == 200
    assert [asked.get("nonce") for asked in api.asked] == [None, "first"]
    auth.drop(auth.token())
    auth.token()
    assert [asked.get("nonce") for asked in api.asked] == [None, "first", "first"]
    assert len({str(asked["jti"]) for asked in api.asked}) == 3


def test_an_issuer_whose_nonces_never_suit(api: BoundApi) -> None:
    """DPO-043: the library would ask for ever."""
    api.issuer_nonce = "always another"
    with pytest.raises(TokenRefused, match="use_dpop_nonce"):
        credentials(api).token()
    assert len(api.asked) == 2


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_wrong_clock(api: BoundApi, ahead: float) -> None:
    """A machine whose clock is an hour wrong could neither get a token nor use it."""
    api.clock = ahead
    assert by_httpx(credentials(api), f"{api.url}/charges") == 200
    assert len(api.asked) == 2


def test_a_bearer_token_is_not_taken(api: BoundApi) -> None:
    """An issuer that knows nothing of DPoP would have us send anybody's token, unnoticed (section 5)."""
    api.kind = "Bearer"
    with pytest.raises(InvalidAnswer, match="DPoP"):
        credentials(api).token()


def test_tokens_on_disk_belong_to_their_key(api: BoundApi, tmp_path: Path) -> None:
    """Another process would take a token from the disk that its own key cannot use."""
    folder, kept = tmp_path / "tokens", DpopKey(PrivateKey.generate(Algorithm.EdDSA))
    first = credentials(api, kept, cache=DiskCache(folder)).token()
    assert credentials(api, kept, cache=DiskCache(folder)).token() == first
    other = credentials(api, cache=DiskCache(folder))
    assert other.token() != first
    assert by_httpx(other, f"{api.url}/charges") == 200


def test_a_key_that_is_kept() -> None:
    """A key in a file would make another thumbprint after the restart, and its tokens be useless."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    made = ec.generate_private_key(ec.SECP256R1())
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert DpopKey.from_pem(pem).jkt == DpopKey.from_pem(pem).jkt
    assert "PRIVATE" not in repr(DpopKey.from_pem(pem))
    with pytest.raises(UnacceptableKey):
        DpopKey(PrivateKey.generate(Algorithm.RS256))


def test_nonces_are_kept_apart_and_few() -> None:
    """One server's nonce would be sent to another, or a crawler's memory grow with every host."""
    key = DpopKey(PrivateKey.generate(Algorithm.ES256), new_id=lambda: uuid.UUID(int=1).hex)
    assert key.note_nonce("https://a.example/x", "one")
    assert not key.note_nonce("https://a.example/y", "one")
    assert not key.note_nonce("https://a.example/y", None)
    assert not key.note_nonce("https://a.example/y", "n" * 1025)

    def nonce(url: str) -> object:
        return json_object(decode_unverified(key.proof("GET", url, 1.0)).unverified_payload).get("nonce")

    assert (nonce("https://A.example/z"), nonce("https://b.example/")) == ("one", None)
    for number in range(ORIGINS + 1):
        key.note_nonce(f"https://{number}.example/", "n")
    assert len(key._nonces) <= ORIGINS
