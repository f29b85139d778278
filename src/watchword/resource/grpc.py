"""gRPC: interceptors for a server, threaded and asyncio.

Refusals are UNAUTHENTICATED, PERMISSION_DENIED when a scope is missing and UNAVAILABLE when the
issuer's keys cannot be fetched; the challenge that HTTP callers get is in the trailing metadata
``www-authenticate``, the caller's own ``x-request-id`` beside it. The token is read from the metadata
``authorization: Bearer ...``, or ``DPoP ...`` with a proof in ``dpop`` whose ``htm`` is POST and whose ``htu`` ends in
the full name of the method: that is what a call is as HTTP/2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from contextvars import ContextVar
from typing import Any, Final

import grpc
import grpc.aio

from watchword.resource.claims import Claims
from watchword.resource.dpop import ShownProof
from watchword.resource.errors import AccessRefused
from watchword.resource.protected_resource import ProtectedResource, named_scope
from watchword.resource.refusal import Answer
from watchword.resource.request_id import request_id
from watchword.resource.verifier import Verifier

_STATUS: Final = {403: grpc.StatusCode.PERMISSION_DENIED, 503: grpc.StatusCode.UNAVAILABLE}
_current: ContextVar[Claims] = ContextVar("watchword_claims")
_KINDS: Final = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}
"""(request is a stream, response is a stream): where a handler keeps its function, and how one is made."""

Continuation = Callable[[grpc.HandlerCallDetails], "grpc.RpcMethodHandler | None"]
AsyncContinuation = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler | None"]]


def current_claims() -> Claims:
    """The claims of the caller's token, inside a guarded method. Raises LookupError in a public one."""
    return _current.get()


class _Guard:
    """``RequireToken(verifier, scope="a:read")``, for ``interceptors=[...]`` of the server.

    Args:
        scope: the scope that every method needs; ``scope_for`` chooses it by the full method name
            (``/package.Service/Method``) instead: None means any good token.
        public_methods: full names of methods that need no token at all.
    """

    def __init__(
        self,
        verifier: Verifier,
        scope: str | None = None,
        *,
        scope_for: Callable[[str], str | None] | None = None,
        public_methods: Collection[str] = (),
    ) -> None:
        self._resource = ProtectedResource(verifier)
        needed = named_scope(scope)
        self._scope_for = scope_for or (lambda _method: needed)
        self._public_methods = frozenset(public_methods)


class RequireToken(_Guard, grpc.ServerInterceptor):  # type: ignore[misc]
    __doc__ = _Guard.__doc__

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        """The method's handler, guarded. The token is judged in the call's own thread, not in the one that accepts."""
        method, handler = handler_call_details.method, continuation(handler_call_details)
        if handler is None or method in self._public_methods:
            return handler
        behavior = _behavior(handler)

        def guarded(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                given = context.invocation_metadata()
                _current.set(
                    self._resource.claims(
                        _values(given, "authorization"), self._scope_for(method), None, lambda: _proof(given, method)
                    )
                )
            except AccessRefused as refused:
                answer = self._resource.refuse(refused, request_id(_texts(context.invocation_metadata())))
                context.set_trailing_metadata(_trailer(answer))
                context.abort(*_status(answer))
            return behavior(request, context)

        return _like(handler, guarded)


class AsyncRequireToken(_Guard, grpc.aio.ServerInterceptor):  # type: ignore[misc]
    __doc__ = _Guard.__doc__

    async def intercept_service(
        self, continuation: AsyncContinuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        """The method's handler for a good token, or one that aborts. Both run in this very task."""
        method, handler = handler_call_details.method, await continuation(handler_call_details)
        if handler is None or method in self._public_methods:
            return handler
        try:
            given = handler_call_details.invocation_metadata
            _current.set(
                await self._resource.aclaims(
                    _values(given, "authorization"), self._scope_for(method), None, lambda: _proof(given, method)
                )
            )
        except AccessRefused as refused:
            return _like(
                handler,
                _aborting(self._resource.refuse(refused, request_id(_texts(handler_call_details.invocation_metadata)))),
            )
        return handler


def _values(metadata: Iterable[tuple[str, str | bytes]] | None, wanted: str) -> list[str]:
    return [value for name, value in _texts(metadata) if name == wanted]


def _proof(metadata: Iterable[tuple[str, str | bytes]] | None, method: str) -> ShownProof:
    return ShownProof(_values(metadata, "dpop"), "POST", method)


def _texts(metadata: Iterable[tuple[str, str | bytes]] | None) -> list[tuple[str, str]]:
    return [(name, value) for name, value in metadata or () if isinstance(value, str)]


def _aborting(answer: Answer) -> Callable[[Any, Any], Awaitable[None]]:
    async def abort(_request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        context.set_trailing_metadata(_trailer(answer))
        await context.abort(*_status(answer))

    return abort


def _status(answer: Answer) -> tuple[grpc.StatusCode, str]:
    return _STATUS.get(answer.status, grpc.StatusCode.UNAUTHENTICATED), answer.document["error_description"]


def _trailer(answer: Answer) -> tuple[tuple[str, str], ...]:
    told = ("WWW-Authenticate", "DPoP-Nonce", "X-Request-Id")
    return tuple((name.lower(), answer.headers[name]) for name in told if name in answer.headers)


def _behavior(handler: grpc.RpcMethodHandler) -> Callable[[Any, Any], Any]:
    name, _ = _KINDS[handler.request_streaming, handler.response_streaming]
    found: Callable[[Any, Any], Any] = getattr(handler, name)
    return found


def _like(handler: grpc.RpcMethodHandler, behavior: Callable[[Any, Any], Any]) -> grpc.RpcMethodHandler:
    _, make = _KINDS[handler.request_streaming, handler.response_streaming]
    return make(behavior, handler.request_deserializer, handler.response_serializer)
