"""The server side of OAUTHBEARER: one login as a state machine without I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Generic, Protocol, TypeVar

from watchword.sasl.errors import Malformed, NotAuthorized, Refused
from watchword.sasl.message import DUMMY, ClientMessage, ErrorChallenge, read_message

STATUSES: Final = frozenset({"invalid_token", "insufficient_scope", "invalid_request", "temporarily_unavailable"})
"""What a verifier's refusal may be called in a challenge (RFC 6750 section 3.1, RFC 6749 section 4.1.2.1)."""


class Verified(Protocol):
    """The claims that a verifier returns, such as `watchword.resource.Claims`."""

    @property
    def subject(self) -> str: ...


V = TypeVar("V", bound=Verified)


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send ``data`` to the client and give its answer to `respond`, which then raises: the login has failed."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Accepted(Generic[V]):
    """The login succeeded. ``identity`` is the identity that the client acts as, ``verified`` the verifier's claims."""

    identity: str
    verified: V


def only_itself(verified: Verified, authzid: str) -> str:
    """The default rule: a token may act only as its own ``sub``."""
    if authzid not in ("", verified.subject):
        raise NotAuthorized("the token may not act as the authzid that was asked for")
    return verified.subject


class _State(Enum):
    START = auto()
    REFUSED = auto()
    OVER = auto()


class OAuthBearerServer(Generic[V]):
    """One login (RFC 7628): give each message of the client to `respond`, decoded and as it came.

    Args:
        verify: the claims of a good token, or an exception. One whose ``error`` is in `STATUSES` (as those of
            `watchword.resource` are) becomes an error challenge; any other is a fault and is passed on.
            For a scope: ``lambda token: verifier.verify(token, scope="mail:read")``.
        averify: the same for an event loop, used by `arespond`.
        authorize: returns the identity to act as, given the client's authzid, which may be empty. Raises
            `NotAuthorized`.
        scope, openid_configuration: sent in the challenge to a client that has no good token.

    Use each object for one login: there is no second try, and no success after a challenge.
    """

    def __init__(
        self,
        verify: Callable[[str], V] | None = None,
        *,
        averify: Callable[[str], Awaitable[V]] | None = None,
        authorize: Callable[[V, str], str] = only_itself,
        scope: str | None = None,
        openid_configuration: str | None = None,
    ) -> None:
        self._verify, self._averify, self._authorize = verify, averify, authorize
        self._scope, self._openid_configuration = scope, openid_configuration
        self._state = _State.START
        self._refused = Refused(None)

    def respond(self, unverified_response: bytes) -> Challenge | Accepted[V]:
        """Check the client's message.

        Raises:
            Malformed, NotAuthorized: the exchange failed at once.
            Refused: the login failed; raised after any answer of the client to our challenge.
            RuntimeError: there is no ``verify``.
        """
        if self._verify is None:
            raise RuntimeError("this exchange was made without verify: use arespond")
        said = self._open(unverified_response)
        if said.unverified_token is None:
            return self._challenge(_without_token(said))
        try:
            verified = self._verify(said.unverified_token)
        except Exception as error:
            return self._refuse(error)
        return self._accept(verified, said)

    async def arespond(self, unverified_response: bytes) -> Challenge | Accepted[V]:
        """`respond`, for an event loop."""
        if self._averify is None:
            raise RuntimeError("this exchange was made without averify: use respond")
        said = self._open(unverified_response)
        if said.unverified_token is None:
            return self._challenge(_without_token(said))
        try:
            verified = await self._averify(said.unverified_token)
        except Exception as error:
            return self._refuse(error)
        return self._accept(verified, said)

    def _open(self, unverified_response: bytes) -> ClientMessage:
        """Change the state before the message is checked, so that a failed login cannot be tried again."""
        state, self._state = self._state, _State.OVER
        if state is _State.REFUSED:
            raise self._refused if unverified_response == DUMMY else Malformed("only %x01 answers an error challenge")
        if state is _State.OVER:
            raise Malformed("the exchange is over")
        return read_message(unverified_response)

    def _refuse(self, error: Exception) -> Challenge:
        """Turn a refusal of the verifier into a challenge; raise any other exception again."""
        status = getattr(error, "error", None)
        if not isinstance(status, str) or status not in STATUSES:
            raise error
        return self._challenge(status, getattr(error, "needed", None), error)

    def _challenge(self, status: str, needed: str | None = None, cause: Exception | None = None) -> Challenge:
        scope = needed or self._scope
        self._refused = Refused(status, scope, self._openid_configuration)
        self._refused.__cause__ = cause
        self._state = _State.REFUSED
        return Challenge(ErrorChallenge(status, scope, self._openid_configuration).encode())

    def _accept(self, verified: V, said: ClientMessage) -> Accepted[V]:
        return Accepted(self._authorize(verified, said.authzid), verified)


def _without_token(said: ClientMessage) -> str:
    """RFC 7628 section 4.3: no token asks for discovery; another scheme than Bearer is not served here."""
    return "invalid_request" if said.scheme else "invalid_token"
