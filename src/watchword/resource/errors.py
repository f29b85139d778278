"""Everything that verifying a token can raise, with separate words for the caller and the operator.

::

    AccessRefused
     +- TokenMissing        401, no error word (RFC 6750 section 3.1)
     +- RequestInvalid      400 invalid_request: more than one Authorization header
     +- TokenInvalid        401 invalid_token: every fault of a token, always in the same public words
     +- InsufficientScope   403 insufficient_scope, with the scope that is needed
     +- KeysUnavailable     503: the issuer's keys cannot be had; nothing is known about the token

``public`` may be shown to anyone. ``rule`` is for this API's operator and its log: it names the
check that failed and never holds the token.
"""

from __future__ import annotations


class AccessRefused(Exception):
    """Never raised itself: catch it to catch all."""

    status = 401
    error: str | None = None
    public = ""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule

    @property
    def needed(self) -> str | None:
        """The scope to ask for, when that is what was missing."""
        return None


class TokenMissing(AccessRefused):
    """The request carried no bearer token."""

    public = "A bearer token is required"


class RequestInvalid(AccessRefused):
    """The request carried more than one Authorization header (RFC 6750 section 3.1)."""

    status = 400
    error = "invalid_request"
    public = "The request has more than one Authorization header"


class TokenInvalid(AccessRefused):
    """Malformed, forged, expired, for somebody else: one and the same for the caller."""

    error = "invalid_token"
    public = "The access token is not valid here"


class InsufficientScope(AccessRefused):
    """The token is good, and not for this; ``needed`` is the scope that is."""

    status = 403
    error = "insufficient_scope"
    public = "The access token does not have the scope that is needed"

    def __init__(self, needed: str) -> None:
        super().__init__(f"the scope {needed} is needed")
        self._needed = needed

    @property
    def needed(self) -> str | None:
        return self._needed


class KeysUnavailable(AccessRefused):
    """The issuer's keys could not be had, or are older than an outage may last."""

    status = 503
    error = "temporarily_unavailable"
    public = "Tokens cannot be verified at the moment"


def challenge(refused: AccessRefused, realm: str | None = None, resource_metadata: str | None = None) -> str | None:
    """The value of ``WWW-Authenticate`` (RFC 6750 section 3), or None for a 503.

    ``realm`` is the API's own text; characters that a quoted-string cannot hold are left out.
    ``resource_metadata`` is the address of its metadata (RFC 9728 section 5.1).
    """
    if isinstance(refused, KeysUnavailable):
        return None
    parts = [("realm", realm), ("error", refused.error), ("scope", refused.needed)]
    if refused.error is not None:
        parts.insert(2, ("error_description", refused.public))
    parts.append(("resource_metadata", resource_metadata))
    given = ", ".join(f'{name}="{_quotable(value)}"' for name, value in parts if value is not None)
    return f"Bearer {given}".rstrip()


def _quotable(text: str) -> str:
    return "".join(sign for sign in text if " " <= sign <= "~" and sign not in '"\\')
