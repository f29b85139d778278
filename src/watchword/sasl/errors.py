"""The exceptions that a login can raise; after each of them the login has failed.

::

    SaslError
     +- Malformed       the peer does not speak RFC 7628, or speaks out of turn
     +- Refused         the server refused in an error challenge; `status` is its error code
     +- NotAuthorized   the token is good but must not act as the requested authzid

The text never holds the token or data of the peer. A server answers all of them with the failure of its protocol
 (IMAP: ``NO``; SMTP: 535) and keeps the text for its log.
"""

from __future__ import annotations


class SaslError(Exception):
    """The base class: catch it to catch all of them."""


class Malformed(SaslError):
    """A message that the ABNF of RFC 7628 section 3.1 does not allow, or a message too many."""


class Refused(SaslError):
    """An error challenge (RFC 7628 section 3.2.2).

    ``status`` is the OAuth error code, None when the server's challenge could not be read; ``scope`` is the scope that
    is needed. ``unverified_openid_configuration`` is the issuer that the *server* names. Never send credentials to
    it: any server could name its own address there.
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
    """RFC 4422 section 3.4.1: the token must not act as this authorization identity."""
