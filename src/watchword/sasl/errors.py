"""Everything that an exchange can raise; each ends it, and none is a success of any kind.

::

    SaslError
     +- Malformed       the peer does not speak RFC 7628, or speaks out of turn
     +- Refused         the server said no in an error challenge; `status` is its word
     +- NotAuthorized   the token is good, and may not act as the authzid that was asked for

The text never holds the token nor what the peer sent. A server answers all of them with its protocol's own
failure (IMAP: ``NO``; SMTP: 535) and keeps the text for its log.
"""

from __future__ import annotations


class SaslError(Exception):
    """Never raised itself: catch it to catch all."""


class Malformed(SaslError):
    """A message that the ABNF of RFC 7628 section 3.1 does not allow, or one message too many."""


class Refused(SaslError):
    """An error challenge (RFC 7628 section 3.2.2).

    ``status`` is the OAuth error word, None when the server's challenge could not be read; ``scope`` is what it
    says is needed. ``unverified_openid_configuration`` is what the *server* calls its issuer: whoever sends
    credentials to an address because a server named it gives them away to any server that asks.
    """

    def __init__(
        self, status: str | None, scope: str | None = None, unverified_openid_configuration: str | None = None
    ) -> None:
        needed = f"; it needs the scope {scope!a}" if scope else ""
        super().__init__(f"the server refused the token: {status or 'no reason that could be read'}{needed}")
        self.status = status
        self.scope = scope
        self.unverified_openid_configuration = unverified_openid_configuration


class NotAuthorized(SaslError):
    """RFC 4422 section 3.4.1: the authorization identity is not one that this token may act as."""
