"""`Secret`: a text that never appears in a log, a traceback or a pickle."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A text that only `reveal` returns: ``str``, ``repr`` and ``format`` give ``***``; pickle fails."""

    __slots__ = ("_text",)

    def __init__(self, text: str | Secret) -> None:
        self._text: str = text.reveal() if isinstance(text, Secret) else text
        if not isinstance(self._text, str) or not self._text:
            raise ValueError("a secret is a text of at least one character")

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, _spec: str) -> str:
        return "***"

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")
