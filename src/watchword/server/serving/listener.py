"""What uvicorn makes of each connection that it accepts: plain ones at once, ours with TLS after their handshake.

Python's ssl has no way to let an unknown certificate through a handshake: what it is shown must lead to one of the
certificates in `client_ca`. Each of them counts by itself there, so that a self-signed certificate of a caller can
stand in the file; whose it is, and whether it is still good, the application judges (decision 0032).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.server import ServerState

from .connection import Connection
from .crowd import Crowd

CIPHERS = "ECDHE+AESGCM"
"""For TLS 1.2: the four suites of RFC 9325 section 4.2, and no others (decision 0044). TLS 1.3 has ChaCha20 as well."""
HANDSHAKE_SECONDS = 5.0
"""For all of a TLS handshake."""
LOOK_SECONDS = 1.0
"""How often the certificate files are looked at, by whoever connects."""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: the application judges times, by its own clock and in its own words."""
_log: Any = structlog.get_logger("watchword.tls")


class Certificates:
    """The files of our own TLS listener; a renewed one counts for whoever connects next.

    Nothing in it is bound to a process: what OpenSSL makes of the files is made where it is needed.
    """

    def __init__(self, certificate: str, key: str, client_ca: str = "", required: bool = False) -> None:
        self._certificate, self._key, self._client_ca, self._required = certificate, key, client_ca, required
        self._context: ssl.SSLContext | None = None
        self._seen = self._refused = self._stamp()
        self._next = 0.0

    def __getstate__(self) -> dict[str, object]:
        """For a worker process, which makes a context of its own."""
        return {**self.__dict__, "_context": None, "_next": 0.0}

    def load(self) -> ssl.SSLContext:
        """What the files say now. Raises `OSError` (`ssl.SSLError` is one) when they do not fit together."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.load_cert_chain(self._certificate, self._key)
        if self._client_ca:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if self._required else ssl.CERT_OPTIONAL
            context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
        return context

    def context(self, now: float) -> ssl.SSLContext:
        """For the next handshake; `now` is monotonic. Files that do not fit together change nothing: the old ones stay.

        Raises `OSError` while there are no old ones.
        """
        if self._context is None or now >= self._next:
            self._next = now + LOOK_SECONDS
            stamp = self._stamp()
            if self._context is None or stamp != self._seen:
                self._renew(stamp)
        assert self._context is not None
        return self._context

    def look_again(self) -> None:
        """Whatever the files' times say, read them for whoever connects next."""
        self._next, self._seen = 0.0, ()

    def _renew(self, stamp: tuple[object, ...]) -> None:
        try:
            self._context, self._seen = self.load(), stamp
        except OSError as error:
            if stamp != self._refused or self._context is None:
                self._refused = stamp
                _log.error("cannot use the TLS certificate files; the ones before them stay, if any", why=str(error))
            if self._context is None:
                raise

    def _stamp(self) -> tuple[object, ...]:
        return tuple(_stamp_of(name) for name in (self._certificate, self._key, self._client_ca) if name)


def _stamp_of(name: str) -> tuple[int, ...]:
    try:
        found = Path(name).stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Listener:
    """uvicorn's `http` setting. It travels to worker processes before it is used; each has connections of its own."""

    def __init__(self, certificates: Certificates | None = None, proxies: Sequence[str] = ()) -> None:
        self._certificates, self._proxies = certificates, proxies
        self._crowd: Crowd | None = None

    def __call__(
        self, config: Any, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None
    ) -> asyncio.Protocol:
        """The protocol of one connection."""
        if self._crowd is None:
            proxies = ProxyHeadersMiddleware(config.app, list(self._proxies)).trusted_hosts
            self._crowd = Crowd(config.limit_concurrency, proxies)  # type: ignore[arg-type]
        connection = Connection(config, server_state, app_state, _loop)
        connection.crowd = self._crowd
        if self._certificates is None:
            return connection
        return Accepted(connection, self._certificates.context, self._crowd)

    def look_again(self) -> None:
        """Read the certificate files anew for whoever connects next."""
        if self._certificates is not None:
            self._certificates.look_again()


class Accepted(asyncio.Protocol):
    """A connection during its handshake: it counts, and has a deadline.

    No loop starts TLS on a transport of its own before it may read from it, so the socket goes to a transport that
    begins with the handshake.
    """

    idle = False

    def __init__(self, connection: Connection, context: Callable[[float], ssl.SSLContext], crowd: Crowd) -> None:
        self._connection, self._context, self._crowd = connection, context, crowd
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Before a byte is read."""
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("socket")
        self._crowd.enter(self, str(peer[0]) if isinstance(peer, tuple) else "")
        if self._crowd.overrun:
            self._crowd.leave(self)
        else:
            accepted = socket.socket(own.family, own.type, own.proto, os.dup(own.fileno()))
            accepted.setblocking(False)
            tasks = self._connection.server_state.tasks
            self._task = self._connection.loop.create_task(self._shake_hands(accepted))
            self._task.add_done_callback(tasks.discard)
            tasks.add(self._task)
        transport.close()

    async def _shake_hands(self, accepted: socket.socket) -> None:
        loop = self._connection.loop
        self._connection.came_from = self
        try:
            context = self._context(loop.time())
        except OSError:
            accepted.close()
            return self._crowd.leave(self)
        try:  # from here on the socket is the loop's to close: its number may be another's by then
            await loop.connect_accepted_socket(
                lambda: self._connection, accepted, ssl=context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS, ssl_shutdown_timeout=HANDSHAKE_SECONDS,
            )  # fmt: skip
        except OSError:  # also of ssl, and of time
            pass
        finally:
            self._crowd.leave(self)

    def close(self) -> None:
        """Its place is needed for another."""
        if self._task is not None:
            self._task.cancel()
