"""Everything that getting a token can raise.

::

    TokenError
     +- TokenRefused       the server answered with an OAuth error (RFC 6749 section 5.2); not retried
     +- TokenUnavailable   no answer, or 429/5xx, after the bounded retries
     +- InvalidAnswer      an answer that is not what the RFCs say; a redirect is one of them
     +- SecretMissing      the place that should hold the client secret has none
     +- EnrolmentPending   a device waits for an administrator, who has not decided yet
     +- SubjectEnded       the token that was to be exchanged has expired
     +- IssuerNotAllowed   an API names issuers of which the caller has allowed none (RFC 9728)

A wrong argument (a URL with userinfo, plain http to another machine) is a ``ValueError``: the
program is wrong, not the world. No message ever holds the secret, the token or the answer's body.
"""

from __future__ import annotations


class TokenError(Exception):
    """Never raised itself: catch it to catch all."""


class TokenRefused(TokenError):
    """The token endpoint said no: ``error`` is its RFC 6749 section 5.2 word, ``status`` is 400 to 499.

    ``behind`` is how many seconds this machine's clock is behind the issuer's, when that is a lot.
    """

    def __init__(self, error: str, description: str | None, status: int, behind: float | None = None) -> None:
        told = f"{error} ({status})" + (f": {description}" if description else "")
        if behind is not None:
            side = "behind" if behind > 0 else "ahead of"
            told += f"; this machine's clock is {abs(behind):.0f} s {side} the issuer's: set it right"
        super().__init__(told)
        self.error = error
        self.description = description
        self.status = status
        self.behind = behind


class TokenUnavailable(TokenError):
    """Nobody answered, or the server asked for patience; ``retry_after`` is in seconds when it said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidAnswer(TokenError):
    """The answer cannot be trusted: a redirect, HTML, too large, wrong types, another issuer."""


class SecretMissing(TokenError):
    """No client secret where one was promised; the message names the place."""


class EnrolmentPending(TokenError):
    """An administrator has to look at the device first. Ask again after ``retry_after`` seconds, with ``ticket``

    in place of the code; None: with the same key or certificate.
    """

    def __init__(self, ticket: str | None, retry_after: float) -> None:
        super().__init__(f"the device waits for an administrator; ask again in {retry_after:.0f} s")
        self.ticket = ticket
        self.retry_after = retry_after


class SubjectEnded(TokenError):
    """Whoever called has to come again with a new token: the one that it called with is over."""


class IssuerNotAllowed(TokenError):
    """The API's authorization servers are not among those that the caller trusts with its secret."""
