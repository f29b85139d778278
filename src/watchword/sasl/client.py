"""The client side of OAUTHBEARER: one login as a state machine without I/O."""

from __future__ import annotations

from enum import Enum, auto

from watchword.sasl.errors import Malformed, Refused
from watchword.sasl.message import DUMMY, read_challenge, write_message

MECHANISM = "OAUTHBEARER"


class _State(Enum):
    START = auto()
    SENT = auto()
    REFUSED = auto()
    OVER = auto()


class OAuthBearerClient:
    """One login (RFC 7628): give each challenge to `respond`, then the outcome to `finish`.

    Args:
        token: the access token. ``authzid``: the identity to act as, if it is not the token's own.
        host, port: the server that the client connected to; the server may log them.

    Raises:
        ValueError: characters that RFC 7628 section 3.1 does not allow.

    Use each object for one login. The token is sent once, and only over TLS (RFC 7628 section 4).
    """

    def __init__(self, token: str, *, authzid: str = "", host: str | None = None, port: int | None = None) -> None:
        self._first = write_message(token, authzid=authzid, host=host, port=port)
        self._state = _State.START
        self._refused: Refused | None = None

    def respond(self, unverified_challenge: bytes) -> bytes:
        """The answer to a challenge; the first is empty (a protocol with initial responses skips asking for it).

        Anything that the server sends after our message is its error challenge. The answer to it is the dummy ``%x01``,
        once, and `finish` raises the error.

        Raises:
            Malformed: the server sends a challenge before our message, or a second one after it.
        """
        if self._state is _State.START:
            if unverified_challenge:
                self._state = _State.OVER
                raise Malformed("the server sent a challenge before our message")
            self._state = _State.SENT
            return self._first
        if self._state is not _State.SENT:
            self._state = _State.OVER
            raise Malformed("the server challenges again after our answer to its error")
        self._state = _State.REFUSED
        self._refused = _refusal(unverified_challenge)
        return DUMMY

    def finish(self, *, succeeded: bool) -> None:
        """Give the outcome that the protocol reports. Returns only after a success.

        Raises:
            Refused: with the status of the error challenge; None if there was none that could be read.
            Malformed: the server reports a success after an error challenge, or before our message.
        """
        state, self._state = self._state, _State.OVER
        if not succeeded:
            raise self._refused or Refused(None)
        if state is not _State.SENT:
            raise Malformed("the server reports a success that does not follow our message")


def _refusal(unverified_challenge: bytes) -> Refused:
    try:
        said = read_challenge(unverified_challenge)
    except Malformed:
        return Refused(None)
    return Refused(said.status, said.scope, said.openid_configuration)
