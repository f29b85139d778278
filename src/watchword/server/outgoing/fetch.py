"""Fetch a document from an address that an application or administrator chose (rfc8725bis section 3.10, decision 0022).

https only, resolved once, every answer of the resolver public, connected to the address that was checked, TLS for the
name that was asked, no redirect, no proxy, no content coding, size and time capped, and only so many fetches of one
host. Every failure is one and the same error.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import httpcore

from ..registry.client_keys import address_of, check_jwks_uri, may_connect
from ..registry.errors import Invalid
from ..service.clients.fetched_keys import FetchFailed
from .host_budget import HostBudget
from .turns import Turns

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a name, for a port. Raises OSError."""

TIMEOUT = 3.0
MAX_BYTES = 256 * 1024
MAX_AT_ONCE = 20
"""Fetches, and lookups of names, of one tenant that is alone; see `Turns`."""


_LOOKUPS = ThreadPoolExecutor(3 * MAX_AT_ONCE, "lookup")
"""Threads of their own: the system resolver blocks for up to half a minute, and others use the loop's."""


async def system_resolver(host: str, port: int) -> list[str]:
    """The operating system's."""
    ask = partial(socket.getaddrinfo, host, port, proto=socket.IPPROTO_TCP)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, ask)
    return [str(entry[4][0]) for entry in found]


class PinnedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to the address that was checked: between check and use nobody is asked again (DNS rebinding)."""

    def __init__(self, network: httpcore.AsyncNetworkBackend, address: str) -> None:
        self._network, self._address = network, address

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """httpcore goes on to ask TLS for the name, and sends it as Host."""
        return await self._network.connect_tcp(self._address, port, timeout, local_address, socket_options)


class CheckedNames:
    """Looks names up. A lookup that nobody waits for any more still has its turn: its thread goes on."""

    def __init__(self, resolve: Resolve, *, loopback: bool) -> None:
        self._resolve, self._loopback, self._turns = resolve, loopback, Turns(MAX_AT_ONCE)

    async def address(self, url: httpcore.URL, tenant_id: str) -> str:
        """One address of the URL's host. Raises `FetchFailed` unless each of them may be connected to."""
        host, port = url.host.decode("ascii").strip("[]"), url.port or 443
        literal = address_of(host)
        texts = [str(literal)] if literal is not None else await self._looked_up(host, port, tenant_id)
        addresses = [address_of(text) for text in texts]
        if not addresses or not all(a is not None and may_connect(a, loopback=self._loopback) for a in addresses):
            raise FetchFailed("the name leads to an address that is not public")
        return texts[0]

    async def _looked_up(self, host: str, port: int, tenant_id: str) -> list[str]:
        await self._turns.take(tenant_id)
        lookup = asyncio.ensure_future(self._resolve(host, port))

        def ended(lookup: asyncio.Future[list[str]]) -> None:
            self._turns.give_back(tenant_id)
            if not lookup.cancelled():
                lookup.exception()  # nobody may be left to see it

        lookup.add_done_callback(ended)
        return await asyncio.shield(lookup)


@cache
def _system_trust() -> ssl.SSLContext:
    """Read once: it takes 20 ms, and nobody changes a context that is ours."""
    return ssl.create_default_context()


class OutgoingFetch:
    """One per worker."""

    def __init__(
        self, network: httpcore.AsyncNetworkBackend, resolve: Resolve, budget: HostBudget, *,
        loopback: bool, ca_file: str = "", ports: Collection[int] = (443,),
    ) -> None:  # fmt: skip
        self._network, self._names = network, CheckedNames(resolve, loopback=loopback)
        self._budget, self._loopback, self._ports = budget, loopback, frozenset(ports)
        self._trust = ssl.create_default_context(cadata=Path(ca_file).read_text()) if ca_file else _system_trust()
        self._turns = Turns(MAX_AT_ONCE)

    async def check(self, uri: str, tenant_id: str) -> None:
        """At registration: spelling, scheme, and where the name leads today. Raises `Invalid`."""
        check_jwks_uri(uri, loopback=self._loopback, ports=self._ports)
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._names.address(httpcore.URL(uri), tenant_id)
        except (FetchFailed, OSError, TimeoutError, UnicodeError):
            raise Invalid("the address does not lead to a public host", field="jwks_uri") from None

    async def __call__(self, uri: str, tenant_id: str) -> bytes:
        """The body of a 200. Raises `FetchFailed`, whatever was wrong, within `TIMEOUT` seconds.

        A tenant whose addresses do not answer makes its own applications wait, and nobody else's.
        """
        try:
            check_jwks_uri(uri, loopback=self._loopback, ports=self._ports)
            url = httpcore.URL(uri)
            async with (
                asyncio.timeout(TIMEOUT),
                self._budget.turn(tenant_id, url.host.decode("ascii").lower().rstrip(".")),
            ):
                await self._turns.take(tenant_id)
                try:
                    return await self._get(uri, await self._names.address(url, tenant_id))
                finally:
                    self._turns.give_back(tenant_id)
        except FetchFailed:
            raise
        except Exception as error:
            # httpcore's errors have no common ancestor, and somebody else's address must never be a 500 of ours.
            raise FetchFailed(f"{type(error).__name__}: {error}") from None

    async def _get(self, uri: str, address: str) -> bytes:
        headers = [("accept", "application/jwk-set+json, application/json"), ("accept-encoding", "identity")]
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._trust,
                network_backend=PinnedNetwork(self._network, address),
                max_keepalive_connections=0,
            ) as pool,
            pool.stream("GET", uri, headers=headers) as response,
        ):
            coded = any(name.lower() == b"content-encoding" for name, _ in response.headers)
            if response.status != 200 or coded:
                why = f"status {response.status}" + (", with a content coding" if coded else "")
                raise FetchFailed(why, answered=not _in_trouble(response.status))
            body = bytearray()
            async for piece in response.aiter_stream():
                body += piece
                if len(body) > MAX_BYTES:
                    raise FetchFailed(f"more than {MAX_BYTES} bytes", answered=True)
            return bytes(body)


def _in_trouble(status: int) -> bool:
    """Whether a status says "ask again later" (RFC 9110 sections 15.5.9 and 15.6, RFC 6585 section 4)."""
    return status >= 500 or status in (408, 429)
