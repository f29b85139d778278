"""/health/live, /health/ready and /metrics: for operators' tools; no versions, hosts or client ids."""

from __future__ import annotations

from ..service.tokens.refusals import Refusals
from ..service.view import View
from .door import Shares
from .wire import (
    NO_STORE,
    Receive,
    Scope,
    Send,
    answer,
    encode_json,
    method_not_allowed,
    not_found,
)

_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class Operations:
    """Live: the event loop runs. Ready: the change feed was read within the last two seconds."""

    def __init__(self, view: View, refusals: Refusals, shares: Shares) -> None:
        self._view, self._refusals, self._shares = view, refusals, shares

    async def health(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 or 503."""
        if scope["method"] not in ("GET", "HEAD"):
            return await method_not_allowed(send, b"GET, HEAD")
        live, ready = (
            scope["path"].endswith("/health/live"),
            scope["path"].endswith("/health/ready"),
        )
        if not live and not ready:
            return await not_found(send)
        good = live or self._view.fresh
        await answer(
            send,
            200 if good else 503,
            encode_json({"status": "ok" if good else "waiting for the database"}),
        )

    async def metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Prometheus text."""
        if not scope["path"].endswith("/metrics"):
            return await not_found(send)
        from prometheus_client import REGISTRY, generate_latest

        own = (
            "# HELP watchword_refusals_total Requests that were refused.\n"
            "# TYPE watchword_refusals_total counter\n"
            f"watchword_refusals_total {self._refusals.total}\n"
            "# HELP watchword_database_fresh Whether the change feed was read lately.\n"
            "# TYPE watchword_database_fresh gauge\n"
            f"watchword_database_fresh {int(self._view.fresh)}\n"
            f"{self._shares.metrics()}"
        )
        process = b"\n".join(line for line in generate_latest(REGISTRY).split(b"\n") if b"python_info" not in line)
        await answer(send, 200, own.encode() + process, NO_STORE, _TEXT)
