"""Everything that getting a token can raise.

::

    TokenError
     +- TokenRefused       the server answered with an OAuth error (RFC 6749 section 5.2); not retried
     +- TokenUnavailable   no answer, or 429/5xx, after the bounded retries
     +- InvalidAnswer      an answer that is not what the RFCs say; a redirect is one of them

A wrong argument (a URL with userinfo, plain http to another machine) is a ``ValueError``: the
program is wrong, not the world. No message ever holds the secret, the token or the answer's body.
"""

from __future__ import annotations


class TokenError(Exception):
    """Never raised itself: catch it to catch all."""


class TokenRefused(TokenError):
    """The token endpoint said no: ``error`` is its RFC 6749 section 5.2 word, ``status`` is 400 to 499."""

    def __init__(self, error: str, description: str | None, status: int) -> None:
        super().__init__(f"{error} ({status})" + (f": {description}" if description else ""))
        self.error = error
        self.description = description
        self.status = status


class TokenUnavailable(TokenError):
    """Nobody answered, or the server asked for patience; ``retry_after`` is in seconds when it said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidAnswer(TokenError):
    """The answer cannot be trusted: a redirect, HTML, too large, wrong types, another issuer."""
