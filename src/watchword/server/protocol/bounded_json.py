"""Read JSON from a request parameter, strictly and with limits; it may become part of a token."""

from __future__ import annotations

from typing import Any, Final

from ...jose import MalformedToken
from ...jose.encoding import json_value
from .errors import OAuthError

_LARGEST: Final = 2**63 - 1


def read_text(unverified_text: str, name: str, longest: int, refused: type[OAuthError]) -> Any:
    """The value of the parameter `name`, of at most `longest` characters. Raises `refused`."""
    if len(unverified_text) > longest:
        raise refused(f"{name} has at most {longest} characters")
    try:
        return json_value(unverified_text.encode("utf-8"))
    except (MalformedToken, UnicodeEncodeError):
        raise refused(f"{name} is not strict JSON") from None


def check_values(value: Any, name: str, deepest: int, refused: type[OAuthError], depth: int = 0) -> None:
    """Reject numbers that some JSON readers round: every reader of a token must see the same value."""
    if depth > deepest:
        raise refused(f"{name} is nested deeper than {deepest}")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST:
        raise refused(f"a whole number in {name} has more than 63 bits")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            check_values(inner, name, deepest, refused, depth + 1)
