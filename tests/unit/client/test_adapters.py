"""Each library's door, against a real server: the header, one retry after a 401, and where the token must not go."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import aiohttp
import grpc
import httpx
import httpx2
import pytest
import requests
from tests.support.counting_issuer import CountingIssuer, counting_issuer

from watchword.client import ClientCredentials, Network, TokenRefused


def by_httpx(auth: ClientCredentials, url: str, **options: Any) -> int:
    with httpx.Client(auth=auth, follow_redirects=True) as client:
        return client.request("POST" if options else "GET", url, **options).status_code


def by_httpx2(auth: ClientCredentials, url: str, **options: Any) -> int:
    with httpx2.Client(auth=auth, follow_redirects=True) as client:
        return client.request("POST" if options else "GET", url, **options).status_code


def by_requests(auth: ClientCredentials, url: str, **options: Any) -> int:
    if "content" in options:
        options["data"] = options.pop("content")
    return requests.request(
        "POST" if options else "GET", url, auth=auth.for_requests(), timeout=30, **options
    ).status_code


def by_urllib3(auth: ClientCredentials, url: str, **options: Any) -> int:
    if "content" in options:
        options["body"] = options.pop("content")
    return auth.for_urllib3().request("POST" if options else "GET", url, **options).status


def by_aiohttp(auth: ClientCredentials, url: str, **options: Any) -> int:
    if "content" in options:
        content = options.pop("content")
        options["data"] = content if isinstance(content, bytes) else as_async(content)

    async def call() -> int:
        method, signed = "POST" if options else "GET", auth.for_aiohttp(url)
        async with aiohttp.ClientSession(middlewares=(signed,)) as s, s.request(method, url, **options) as response:
            return response.status

    return asyncio.run(call())


async def as_async(chunks: Iterator[bytes]) -> Any:
    for chunk in chunks:
        yield chunk


DOORS = [
    pytest.param(door, id=door.__name__[3:]) for door in (by_httpx, by_httpx2, by_requests, by_urllib3, by_aiohttp)
]
Door = Callable[..., int]


def credentials(issuer: CountingIssuer) -> ClientCredentials:
    return ClientCredentials(issuer.url, "an-id", "a-secret")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("good", "status", "sent"),
    [
        pytest.param("token-1", 200, 1, id="CLI-008 accepted"),
        pytest.param("token-2", 200, 2, id="CLI-008 revoked early"),
        pytest.param(None, 401, 2, id="CLI-008 no loop"),
    ],
)
def test_one_refresh_one_retry(door: Door, good: str | None, status: int, sent: int) -> None:
    """A revoked token would be sent until it expires; a retry without an end would storm API and issuer."""
    with counting_issuer() as issuer:
        issuer.good = good
        assert door(credentials(issuer), f"{issuer.url}/api") == status
        assert issuer.called == [f"Bearer token-{n + 1}" for n in range(sent)]
        assert len(issuer.asked) == sent


@pytest.mark.parametrize("door", DOORS)
def test_a_body_of_bytes_is_sent_again(door: Door) -> None:
    """A payment whose token was revoked would be lost, or sent with an empty body."""
    with counting_issuer() as issuer:
        issuer.good = "token-2"
        assert door(credentials(issuer), f"{issuer.url}/api", content=b"charge") == 200


@pytest.mark.parametrize("door", DOORS)
def test_a_body_that_is_used_up_is_not_sent_again(door: Door) -> None:
    """The retry would send an empty or half a body, and the API would believe it."""
    with counting_issuer() as issuer:
        issuer.good = "token-2"
        assert door(credentials(issuer), f"{issuer.url}/api", content=iter([b""])) == 401
        assert issuer.called == ["Bearer token-1"]


@pytest.mark.parametrize("door", DOORS)
def test_a_redirect_to_another_host_gets_no_token(door: Door) -> None:
    """An open redirect in the API would hand the token to a stranger."""
    with counting_issuer() as issuer, counting_issuer() as stranger:
        issuer.redirect = f"{stranger.url}/api"
        door(credentials(issuer), f"{issuer.url}/moved")
        assert issuer.called[0] == "Bearer token-1"
        assert stranger.called
        assert set(stranger.called) == {""}


@pytest.mark.parametrize("door", DOORS)
def test_no_token_over_plain_http(door: Door) -> None:
    """RFC 6750 section 5.3: a token on plain http is anybody's."""
    with counting_issuer() as issuer, pytest.raises(ValueError, match="https"):
        door(credentials(issuer), "http://api.example/")


@pytest.mark.parametrize("door", DOORS)
def test_a_refusal_is_ours(door: Door) -> None:
    """A caller that catches TokenError would meet the HTTP library's exceptions, or none."""
    from tests.support.counting_issuer import Reply

    with counting_issuer(lambda _n: Reply(401, b'{"error":"invalid_client"}')) as issuer:
        with pytest.raises(TokenRefused, match="invalid_client"):
            door(credentials(issuer), f"{issuer.url}/api")
        assert issuer.called == []


def test_aiohttp_needs_to_know_the_api() -> None:
    """aiohttp asks for every hop of a redirect: without a name the token would go everywhere."""
    auth = ClientCredentials("https://id.example", "an-id", "a-secret")
    with pytest.raises(ValueError, match="for_aiohttp"):
        auth.for_aiohttp()


class Greeter(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every call with the metadata it got."""

    def service(self, details: Any) -> Any:
        sent = dict(details.invocation_metadata).get("authorization", "")
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: sent.encode())


def grpc_call(auth: ClientCredentials) -> bytes:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Greeter(),))
    port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
    server.start()
    channel_credentials = grpc.composite_channel_credentials(grpc.local_channel_credentials(), auth.for_grpc())
    try:
        with grpc.secure_channel(f"127.0.0.1:{port}", channel_credentials) as channel:
            return bytes(channel.unary_unary("/greeter/Hello")(b"", timeout=30))
    finally:
        server.stop(None).wait()


def test_grpc() -> None:
    """A gRPC caller would have to put the token into each call by hand."""
    with counting_issuer() as issuer:
        assert grpc_call(credentials(issuer)) == b"Bearer token-1"


def test_grpc_without_a_token() -> None:
    """A call without a token would go out as if it had one, or the reason would be lost."""
    from tests.support.counting_issuer import Reply

    with counting_issuer(lambda _n: Reply(401, b'{"error":"invalid_client"}')) as issuer:
        with pytest.raises(grpc.RpcError) as caught:
            grpc_call(credentials(issuer))
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "invalid_client" in caught.value.details()
        assert "a-secret" not in caught.value.details()


LIGHT = """
import sys
import watchword.client
from watchword.client import ClientCredentials
ClientCredentials("https://id.example", "an-id", "a-secret")
heavy = "asyncio httpx httpx2 httpcore requests aiohttp urllib3 grpc filelock keyring cryptography ssl watchword.server"
print(*(name for name in heavy.split() if name in sys.modules))
"""


def test_importing_is_light() -> None:
    """The command line and short jobs would pay for libraries that they do not use; section 7: under 60 ms."""
    ran = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


ORDER = """
from watchword.client import ClientCredentials
auth = ClientCredentials("https://id.example", "an-id", "a-secret")
import httpx
httpx.Client(auth=auth)
import httpx2
httpx2.Client(auth=auth), httpx.AsyncClient(auth=auth)
assert isinstance(auth, ClientCredentials) and not isinstance(auth, str)
"""


def test_the_order_of_imports_does_not_matter() -> None:
    """Credentials made before httpx was imported would be refused by it."""
    subprocess.run([sys.executable, "-c", ORDER], check=True)


def test_many_tokens_are_small() -> None:
    """A gateway that holds 100,000 tokens would need gigabytes: a certificate store, a lock or a socket for each."""
    import tracemalloc

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"access_token": "x" * 700, "token_type": "Bearer", "expires_in": 300})

    transport = httpx.MockTransport(answer)
    held: list[ClientCredentials] = []

    def make() -> None:
        auth = ClientCredentials(
            "https://id.example",
            "an-id",
            "a-secret",
            network=Network(endpoint="https://id.example/token", transport=transport),
        )
        auth.token()
        held.append(auth)

    make()
    tracemalloc.start()
    for _n in range(500):
        make()
    each = tracemalloc.get_traced_memory()[0] / 500
    tracemalloc.stop()
    assert each < 4096
