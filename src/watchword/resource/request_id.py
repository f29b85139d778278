"""Read the request id (correlation id) that appears in the caller's error, this API's log and the issuer's audit."""

from __future__ import annotations

import re
from collections.abc import Iterable

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


def request_id(unverified_headers: Iterable[tuple[str, str]]) -> str:
    """``X-Request-Id``, or the trace id of ``traceparent`` (W3C Trace Context section 3.2); else "".

    Anything that is not at most 64 letters, digits, dots, underscores and hyphens counts as absent: it
    goes into logs and into an answer's header. Watchword's server reads the same two headers alike.
    """
    traced = ""
    for name, value in unverified_headers:
        lower = name.lower()
        if lower == "x-request-id" and _REQUEST_ID.fullmatch(value):
            return value
        if lower == "traceparent" and not traced:
            found = _TRACEPARENT.fullmatch(value)
            traced = found[1] if found and found[1].strip("0") else ""
    return traced
