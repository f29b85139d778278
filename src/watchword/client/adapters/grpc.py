"""Authenticate gRPC calls, as call credentials. Imported only when it is used."""

from __future__ import annotations

from typing import Any

import grpc

from watchword.client.adapters.port import SignsRequests
from watchword.client.errors import TokenError


class TokenPlugin(grpc.AuthMetadataPlugin):  # type: ignore[misc]
    """Puts the token into each call's metadata; gRPC itself refuses to do so over an insecure channel."""

    def __init__(self, credentials: SignsRequests) -> None:
        self._credentials = credentials

    def __call__(self, context: Any, callback: Any) -> None:
        """gRPC calls this on a thread of its own. A failure fails that call with UNAVAILABLE or UNAUTHENTICATED."""
        url = f"{context.service_url}/{context.method_name}"
        try:
            headers = self._credentials.signed(self._credentials.token(), "POST", url)
        except (TokenError, ValueError) as error:  # ValueError: a channel without an https address, by DPoP
            callback((), error)
        else:
            callback(tuple((name.lower(), value) for name, value in headers.items()), None)


def call_credentials(credentials: SignsRequests) -> grpc.CallCredentials:
    """For ``grpc.composite_channel_credentials(grpc.ssl_channel_credentials(), ...)``."""
    return grpc.metadata_call_credentials(TokenPlugin(credentials), name="watchword")
