"""The part of `ClientCredentials` that an adapter uses: get a token, sign a request, read the API's answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from watchword.client.token import AccessToken


class SignsRequests(Protocol):
    """Gets tokens and signs requests with them. Raises `TokenError` when no token can be had."""

    def token(self) -> AccessToken:
        """A token that is valid now."""
        ...

    async def atoken(self) -> AccessToken:
        """`token`, for an event loop."""
        ...

    def signed(self, token: AccessToken, method: str, url: str) -> dict[str, str]:
        """The headers to add to one request."""
        ...

    def note_answer(self, token: AccessToken, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Note what the API answered; True when the request may succeed if it is sent again with a new `token`."""
        ...

    def check_target(self, url: str) -> None:
        """Raise ValueError for a URL to which no token may be sent (RFC 6750 section 5.3)."""
        ...
