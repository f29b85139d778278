"""Parse SPIFFE ids (SPIFFE-ID section 2)."""

from __future__ import annotations

import re

MAX_ID = 2_048
_DOMAIN = re.compile(r"spiffe://[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


def is_trust_domain(text: str) -> bool:
    """Whether it is `spiffe://example.org`, without a path."""
    return _DOMAIN.fullmatch(text) is not None


def trust_domain(unverified_id: str) -> str:
    """The trust domain of a workload's SPIFFE id; empty for any other text."""
    domain = _DOMAIN.match(unverified_id)
    if domain is None or len(unverified_id) > MAX_ID:
        return ""
    slash, *segments = unverified_id[domain.end() :].split("/")
    named = slash == "" and segments and all(_SEGMENT.fullmatch(s) and s not in (".", "..") for s in segments)
    return domain[0] if named else ""
