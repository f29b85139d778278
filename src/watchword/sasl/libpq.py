"""Tokens for PostgreSQL 18 with psycopg (``watchword[psycopg]``): libpq asks for one at each login (OAUTHBEARER).

>>> use_tokens(auth.token, issuer="https://id.example/t/acme", client_id=client_id)             # doctest: +SKIP
>>> psycopg.connect("host=db.example sslmode=verify-full dbname=app user=app "                  # doctest: +SKIP
...     f"oauth_issuer=https://id.example/t/acme oauth_client_id={client_id}")

libpq has one hook for the whole process, so connections find their source by issuer and client id. The hook is set in
the libpq that psycopg loads: psycopg's Python implementation (``PSYCOPG_IMPL=python``) with PostgreSQL 18 or later.
"""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import threading
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_void_p
from typing import Any, Final
from urllib.parse import urlsplit

from psycopg import pq

from watchword.sasl.message import is_token
from watchword.sasl.token import TokenSource
from watchword.sasl.transport import is_local

_log = logging.getLogger("watchword.sasl")
LIBPQ_18: Final = 180_000
_BEARER_TOKEN: Final = 1
"""``PQAUTHDATA_OAUTH_BEARER_TOKEN`` of libpq-fe.h."""
_GIVEN: Final = 1
_FAILED: Final = -1


class LibpqUnusable(RuntimeError):
    """The libpq of this process cannot be given tokens; the text says what to install or to set."""


class TokenWithheld(Exception):
    """This login gets no token; the text says why and what to do. Only ever logged: libpq takes no reasons."""


class _Request(Structure):
    """``PGoauthBearerRequest`` of libpq-fe.h."""

    _fields_ = (
        ("openid_configuration", c_char_p),
        ("scope", c_char_p),
        ("start", c_void_p),
        ("cleanup", c_void_p),
        ("token", c_void_p),
        ("user", c_void_p),
    )


class _Option(Structure):
    """``PQconninfoOption`` of libpq-fe.h."""

    _fields_ = (
        ("keyword", c_char_p), ("envvar", c_char_p), ("compiled", c_char_p), ("val", c_char_p),
        ("label", c_char_p), ("dispchar", c_char_p), ("dispsize", c_int),
    )  # fmt: skip


_Hook = CFUNCTYPE(c_int, c_int, c_void_p, c_void_p)
_Cleanup = CFUNCTYPE(None, c_void_p, POINTER(_Request))


def use_tokens(source: TokenSource, *, issuer: str, client_id: str) -> None:
    """Give this source's tokens to every later login with ``oauth_issuer`` and ``oauth_client_id`` of these values.

    Args:
        source: ``ClientCredentials(...).token``; called once for each login, in the thread that connects, also in
            several threads at once. It replaces an earlier source for the same issuer and client id.
        issuer: exactly as PostgreSQL's ``pg_hba.conf`` names it.

    Raises:
        LibpqUnusable: psycopg has not loaded a libpq of PostgreSQL 18, or not with its Python implementation.

    All other connections go to the hook that was set before. If the source raises, the login fails; libpq's message has
    no reason in PostgreSQL 18, so the reason is logged to ``watchword.sasl``.
    """
    hook = _installed()
    with _lock:
        for address in metadata_addresses(issuer):
            hook.sources[address, client_id] = source


def metadata_addresses(issuer: str) -> list[str]:
    """The URLs by which a server may name an issuer: OIDC Discovery section 4, RFC 8414 section 3.1 and mixtures."""
    known = urlsplit(issuer)
    path = known.path.rstrip("/")
    return [
        address
        for document in ("openid-configuration", "oauth-authorization-server")
        for address in (
            f"{issuer.rstrip('/')}/.well-known/{document}",
            known._replace(path=f"/.well-known/{document}{path}").geturl(),
        )
    ]


class _Installed:
    """Our hook in one libpq. It is never removed: libpq keeps its address as long as the process runs."""

    def __init__(self, libpq: ctypes.CDLL) -> None:
        self._libpq = _declared(libpq)
        self.sources: dict[tuple[str, str], TokenSource] = {}
        self._lent: dict[int, ctypes.Array[Any]] = {}
        self._before: Any = self._libpq.PQgetAuthDataHook()
        self._hook, self._cleanup = _Hook(self._ask), _Cleanup(self._take_back)
        self._libpq.PQsetAuthDataHook(self._hook)

    def _ask(self, kind: int, connection: int, data: int) -> int:
        """``PQauthDataHook_type``. It never raises: ctypes would print it, and libpq would read "not handled"."""
        if kind != _BEARER_TOKEN:
            return int(self._before(kind, connection, data))
        try:
            request = _Request.from_address(data)
            source = self._source(request, connection)
            if source is None:
                return int(self._before(kind, connection, data))
            self._check_tls(connection)
            self._lend(request, source().value)
        except TokenWithheld as error:
            _log.warning("PostgreSQL gets no token: %s", error)
            return _FAILED
        except Exception as error:
            _log.warning("PostgreSQL gets no token: its source failed", exc_info=error)
            return _FAILED
        return _GIVEN

    def _source(self, request: _Request, connection: int) -> TokenSource | None:
        client_id = self._option(connection, b"oauth_client_id")
        unverified_address = (request.openid_configuration or b"").decode("utf-8", "replace")
        with _lock:
            return self.sources.get((unverified_address, client_id))

    def _option(self, connection: int, name: bytes) -> str:
        options = self._libpq.PQconninfo(connection)
        if not options:
            raise MemoryError("libpq cannot copy the connection's options")
        try:
            at = 0
            while options[at].keyword:
                if options[at].keyword == name:
                    return (options[at].val or b"").decode("utf-8", "replace")
                at += 1
            return ""
        finally:
            self._libpq.PQconninfoFree(options)

    def _check_tls(self, connection: int) -> None:
        """libpq sends tokens without TLS if the server allows it; RFC 7628 section 4 forbids it."""
        if self._libpq.PQsslInUse(connection):
            return
        with socket.socket(fileno=os.dup(self._libpq.PQsocket(connection))) as connected:
            if is_local(connected):
                return
        raise TokenWithheld("it would travel in clear: connect with sslmode=verify-full, and hostssl in pg_hba.conf")

    def _lend(self, request: _Request, token: str) -> None:
        """Keep the token in memory until libpq calls `_take_back`: libpq reads it until then."""
        if not is_token(token):
            raise TokenWithheld("what its source gives is no access token (RFC 6750 section 2.1)")
        lent = ctypes.create_string_buffer(token.encode("ascii"))
        address = ctypes.addressof(lent)
        with _lock:
            self._lent[address] = lent
        request.token = request.user = address
        request.cleanup = ctypes.cast(self._cleanup, c_void_p)

    def _take_back(self, _connection: int, request: Any) -> None:
        """``PGoauthBearerRequest.cleanup``."""
        with _lock:
            lent = self._lent.pop(request.contents.user, None)
        request.contents.token = None
        if lent is not None:
            ctypes.memset(lent, 0, len(lent))


_lock = threading.Lock()
_hook: _Installed | None = None


def _installed() -> _Installed:
    """The hook, set at the first call."""
    global _hook
    with _lock:
        if _hook is None:
            _hook = _Installed(_loaded())
        return _hook


def _loaded() -> ctypes.CDLL:
    if pq.__impl__ != "python":
        raise LibpqUnusable(
            f"psycopg's implementation {pq.__impl__!r} has a libpq of its own that cannot be reached: "
            "set PSYCOPG_IMPL=python before psycopg is imported"
        )
    if pq.version() < LIBPQ_18:
        raise LibpqUnusable(
            f"psycopg has loaded a libpq of version {pq.version() // 10_000}, and only 18 and later take tokens: "
            "install PostgreSQL 18's client library, or name its folder in LD_LIBRARY_PATH before Python starts"
        )
    from psycopg.pq import _pq_ctypes

    theirs: ctypes.CDLL = getattr(_pq_ctypes, "pq")  # noqa: B009  # it is not in psycopg's stubs
    # The same library by another object, so that our argument types do not change psycopg's.
    return ctypes.CDLL(theirs._name, handle=theirs._handle)


def _declared(libpq: ctypes.CDLL) -> ctypes.CDLL:
    for name, result, arguments in (
        ("PQgetAuthDataHook", _Hook, ()),
        ("PQsetAuthDataHook", None, (_Hook,)),
        ("PQconninfo", POINTER(_Option), (c_void_p,)),
        ("PQconninfoFree", None, (POINTER(_Option),)),
        ("PQsslInUse", c_int, (c_void_p,)),
        ("PQsocket", c_int, (c_void_p,)),
    ):
        function = getattr(libpq, name)
        function.restype, function.argtypes = result, arguments
    return libpq
