"""Admission control: under overload, refuse requests that could not be answered in time (decision 0053).

`Door` is the outermost application, so that a refusal costs no more than reading the request's head: a time-out would
cost the caller its patience and us the work. Health and metrics always pass. Administrators' requests have a limit of
their own, so that a fleet of devices cannot lock administrators out.
"""

from __future__ import annotations

from collections.abc import Callable

from ..protocol.admission import Admission
from ..protocol.errors import Unavailable
from ..protocol.rate import retry_after
from .front import Asgi
from .wire import JSON, NO_STORE, Receive, Scope, Send, bodies_awaited, encode_json

ADMIN_FIRST, ADMIN_FLOOR = 64, 16
BUSY = "more is asked than can be answered in time; ask again after the seconds in Retry-After"
TOO_LATE = "watchword.too_late"
"""In the state of ASGI's lifespan: `Door.too_late`, for a listener that knows how long a connection waited."""
_LINE = 1_024
"""Bytes of a request in which its path is looked for."""
_BODY = encode_json({"error": Unavailable.error, "error_description": BUSY})
_HEADERS = [JSON, (b"content-length", b"%d" % len(_BODY)), *NO_STORE, (b"connection", b"close")]


class Shares:
    """The two limits of a worker: for applications and APIs, and for administrators."""

    def __init__(self, within: float) -> None:
        self.protocol = Admission(within, idle=bodies_awaited)
        self.admin = Admission(within, first=ADMIN_FIRST, floor=ADMIN_FLOOR, idle=bodies_awaited)

    def metrics(self) -> str:
        """Prometheus text."""
        shares = (("protocol", self.protocol), ("admin", self.admin))
        lines: list[str] = []
        for name, kind, told in (
            ("admitted_total", "counter", "Requests that were let in."),
            ("turned_away_total", "counter", "Requests that were answered 503 at the door."),
            ("in_flight", "gauge", "Requests that were let in and are not answered."),
            ("in_flight_limit", "gauge", "How many may be in flight, by what was lately answered."),
        ):
            lines += [f"# HELP watchword_{name} {told}", f"# TYPE watchword_{name} {kind}"]
            lines += [f'watchword_{name}{{share="{share}"}} {_value(name, of)}' for share, of in shares]
        return "\n".join(lines) + "\n"


def _value(name: str, of: Admission) -> int:
    return {
        "admitted_total": of.admitted, "turned_away_total": of.refused,
        "in_flight": of.in_flight, "in_flight_limit": of.limit,
    }[name]  # fmt: skip


class Door:
    """The outermost ASGI application. `knows` tells tenants from slugs that somebody made up."""

    def __init__(
        self,
        inside: Asgi,
        base_path: str,
        shares: Shares,
        *,
        knows: Callable[[str], bool],
        monotonic: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._inside, self._shares, self._knows = inside, shares, knows
        self._monotonic, self._chance = monotonic, chance
        self._begin = len(base_path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request, or refuse it completely before its body is read."""
        if scope["type"] != "http":
            return await self._inside(scope, receive, send)
        share, group = self._place(scope["raw_path"])
        if share is None:
            return await self._inside(scope, receive, send)
        if share.full(group) and self._still_full(share, group):
            return await self._refuse(share, send)
        share.enter(group)
        try:
            await self._inside(scope, receive, send)
        finally:
            share.leave(group)
        return None

    def too_late(self, waited: float, gone: bool, first_bytes: bytes) -> bytes | None:
        """The whole answer to a connection that waited too long before its first bytes were read, or None: let it in.

        `gone`: whether the caller has ended it meanwhile; a token would be for nobody. To be asked before anything is
        parsed: in a storm most of what can be done about a request is not to begin it.
        """
        share, _ = self._place(b"".join(first_bytes[:_LINE].split(b" ", 2)[1:2]).partition(b"?")[0])
        if share is None or not share.late(waited, gone):
            return None
        share.measure(self._monotonic(), full=False)
        return b"HTTP/1.1 503 Service Unavailable\r\n%b\r\n%b" % (
            b"".join(b"%b: %b\r\n" % header for header in self._headers(share)), _BODY,
        )  # fmt: skip

    def _place(self, raw_path: bytes) -> tuple[Admission | None, str]:
        """Whose share, and for whom in it. Made-up slugs count as one group, and so do paths of none."""
        parts = raw_path[self._begin :].split(b"/", 4)
        first = parts[1] if len(parts) > 2 else b""
        if first == b"t":
            slug = parts[2].decode("latin-1")
            return self._shares.protocol, slug if self._knows(slug) else ""
        if first == b"oauth" and len(parts) > 3:
            slug = parts[3].decode("latin-1")
            return self._shares.protocol, slug if self._knows(slug) else ""
        if first == b"management" and len(parts) > 3:
            slug = parts[3].decode("latin-1")
            return self._shares.admin, slug if self._knows(slug) else ""
        if first in (b"api", b"management"):
            return self._shares.admin, ""
        if first == b"health" or parts[-1] == b"metrics":
            return None, ""
        return self._shares.protocol, ""

    def _still_full(self, share: Admission, group: str) -> bool:
        share.measure(self._monotonic())
        return share.full(group)

    async def _refuse(self, share: Admission, send: Send) -> None:
        await send({"type": "http.response.start", "status": Unavailable.status, "headers": self._headers(share)})
        await send({"type": "http.response.body", "body": _BODY})

    def _headers(self, share: Admission) -> list[tuple[bytes, bytes]]:
        seconds = retry_after(share.refuse(self._monotonic()), self._chance())
        return [*_HEADERS, (b"retry-after", b"%d" % seconds)]
