"""The gRPC interceptors, over real servers and channels: every kind of call, threaded and asyncio."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.adapters.contract import CLIENT, SCOPE, Issuer, header

from watchword.resource import Verifier
from watchword.resource.grpc import AsyncRequireToken, RequireToken, current_claims

KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


def methods() -> grpc.GenericRpcHandler:
    """One method of each kind, which says who calls."""

    def one(_request: Any, _context: Any) -> bytes:
        return current_claims().client_id.encode()

    def many(_request: Any, _context: Any) -> Iterator[bytes]:
        yield current_claims().client_id.encode()
        yield current_claims().client_id.encode()

    def public(_request: Any, _context: Any) -> bytes:
        return b"up"

    return grpc.method_handlers_generic_handler(
        "p.P",
        {
            "unary_unary": grpc.unary_unary_rpc_method_handler(one),
            "unary_stream": grpc.unary_stream_rpc_method_handler(many),
            "stream_unary": grpc.stream_unary_rpc_method_handler(one),
            "stream_stream": grpc.stream_stream_rpc_method_handler(many),
            "public": grpc.unary_unary_rpc_method_handler(public),
        },
    )


def amethods() -> grpc.GenericRpcHandler:
    """`methods`, for the asyncio server."""

    async def one(_request: Any, _context: Any) -> bytes:
        await asyncio.sleep(0)
        return current_claims().client_id.encode()

    async def many(_request: Any, _context: Any) -> AsyncIterator[bytes]:
        yield current_claims().client_id.encode()
        await asyncio.sleep(0)
        yield current_claims().client_id.encode()

    async def public(_request: Any, _context: Any) -> bytes:
        return b"up"

    return grpc.method_handlers_generic_handler(
        "p.P",
        {
            "unary_unary": grpc.unary_unary_rpc_method_handler(one),
            "unary_stream": grpc.unary_stream_rpc_method_handler(many),
            "stream_unary": grpc.stream_unary_rpc_method_handler(one),
            "stream_stream": grpc.stream_stream_rpc_method_handler(many),
            "public": grpc.unary_unary_rpc_method_handler(public),
        },
    )


def scope_for(method: str) -> str | None:
    return "never:granted" if method == "/p.P/unary_stream" else SCOPE


def call(channel: grpc.Channel, kind: str, metadata: Any) -> list[bytes]:
    """One call of one kind; raises RpcError."""
    request: Any = iter([b"", b""]) if kind.startswith("stream") else b""
    made = getattr(channel, "unary_unary" if kind == "public" else kind)(f"/p.P/{kind}")
    got = made(request, metadata=metadata, timeout=30)
    return list(got) if kind.endswith("stream") else [got]


def judge_all(port: int, issuer: Issuer) -> None:
    """Every kind with and without a token; the scope by method; the public method."""
    good = list(header(issuer).items())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert call(channel, "public", ()) == [b"up"]
        for kind in KINDS:
            with pytest.raises(grpc.RpcError) as without:
                call(channel, kind, ())
            assert without.value.code() is grpc.StatusCode.UNAUTHENTICATED, kind
            if kind == "unary_stream":
                with pytest.raises(grpc.RpcError) as short:
                    call(channel, kind, good)
                assert short.value.code() is grpc.StatusCode.PERMISSION_DENIED
                assert 'scope="never:granted"' in dict(short.value.trailing_metadata())["www-authenticate"]
            else:
                assert set(call(channel, kind, good)) == {CLIENT.encode()}, kind
        with pytest.raises(grpc.RpcError) as unknown:
            channel.unary_unary("/p.P/none")(b"", timeout=30)
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_grpc_every_kind_of_call(issuer: Issuer, verifier: Verifier) -> None:
    """A streaming method would be open because only the unary ones were thought of."""
    guard = RequireToken(verifier, scope_for=scope_for, public_methods={"/p.P/public"})
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[guard], handlers=[methods()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        judge_all(port, issuer)
    finally:
        server.stop(None).wait()


async def test_grpc_asyncio_every_kind_of_call(issuer: Issuer, verifier: Verifier) -> None:
    """The asyncio server has interceptors of its own; what holds for one must hold for the other."""
    guard = AsyncRequireToken(verifier, scope_for=scope_for, public_methods={"/p.P/public"})
    server = grpc.aio.server(interceptors=[guard], handlers=[amethods()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        await asyncio.to_thread(judge_all, port, issuer)
    finally:
        await server.stop(None)


async def test_grpc_asyncio_calls_do_not_share_claims(issuer: Issuer, verifier: Verifier) -> None:
    """Two callers at once: one would act in the other's name."""
    both_in = asyncio.Barrier(2)

    async def slow(_request: bytes, _context: Any) -> bytes:
        await both_in.wait()
        return current_claims().client_id.encode()

    handler = grpc.method_handlers_generic_handler("p.P", {"slow": grpc.unary_unary_rpc_method_handler(slow)})
    server = grpc.aio.server(interceptors=[AsyncRequireToken(verifier)], handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        calls = [
            channel.unary_unary("/p.P/slow")(b"", metadata=list(header(issuer, client_id=who).items()), timeout=30)
            for who in ("one", "two")
        ]
        assert [await one for one in calls] == [b"one", b"two"]
    await server.stop(None)
