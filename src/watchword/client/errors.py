"""The exceptions that getting a token can raise.

::

    TokenError
     +- TokenRefused       the server answered with an OAuth error (RFC 6749 section 5.2); not retried
     +- TokenUnavailable   no answer, or 429/5xx, after the bounded retries
     +- InvalidAnswer      an answer that is not what the RFCs say; a redirect is one of them
     +- SecretMissing      no credential in the file, variable or keyring that was named
     +- EnrolmentPending   an administrator has to approve the device first
     +- SubjectEnded       the token that was to be exchanged has expired
     +- IssuerNotAllowed   an API names issuers of which the caller has allowed none (RFC 9728)

A wrong argument (a URL with userinfo, plain http to another machine) is a ``ValueError``: the mistake is in the
program. No message ever holds the secret, the token or the answer's body.
"""

from __future__ import annotations


class TokenError(Exception):
    """The base class: catch it to catch all of them."""


class TokenRefused(TokenError):
    """The token endpoint refused: ``error`` is the error code (RFC 6749 section 5.2), ``status`` is 400 to 499.

    ``behind`` is by how many seconds this machine's clock is behind the issuer's, if the two differ by over 30 s.
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
    """No answer, or 429 or 5xx; ``retry_after`` is in seconds, None if the server sent no ``Retry-After``."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidAnswer(TokenError):
    """The answer is not what the RFCs say: a redirect, HTML, too large, wrong types, another issuer."""


class SecretMissing(TokenError):
    """The credential could not be read; the message names the file, variable or keyring entry."""


class EnrolmentPending(TokenError):
    """An administrator has to approve the device first. Call `enrol` again after ``retry_after`` seconds.

    Give ``ticket`` in place of the code; if it is None, give the same key or certificate again.
    """

    def __init__(self, ticket: str | None, retry_after: float) -> None:
        super().__init__(f"the device waits for an administrator; ask again in {retry_after:.0f} s")
        self.ticket = ticket
        self.retry_after = retry_after


class SubjectEnded(TokenError):
    """The subject token has expired: the caller must send a new access token."""


class IssuerNotAllowed(TokenError):
    """None of the API's authorization servers is among those that the caller allows."""
