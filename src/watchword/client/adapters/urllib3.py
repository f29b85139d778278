"""Authenticate requests of urllib3. Imported only when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import urllib3

from watchword.client.adapters.port import SignsRequests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watchword.client.token import AccessToken


class AuthorizedPool:
    """A pool manager that signs what it sends: ``auth.for_urllib3().request("GET", url)``.

    It wraps a `urllib3.PoolManager`, which takes the header off when a redirect leaves the host.
    A 401 is retried once with a new token, or nonce. With a DPoP key, redirects are not followed well: the proof is
    of the first address.
    """

    def __init__(self, credentials: SignsRequests, pool: urllib3.PoolManager | None = None) -> None:
        self._credentials = credentials
        self.pool = pool if pool is not None else urllib3.PoolManager()

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """`urllib3.PoolManager.request` with the token; the same options."""
        self._credentials.check_target(url)
        token = self._credentials.token()
        response = self._send(method, url, headers, token, options)
        again = self._credentials.note_answer(token, url, response.status, response.headers)
        if not again or not isinstance(options.get("body"), bytes | str | None):
            return response  # a file or generator cannot be sent twice
        response.drain_conn()
        token = self._credentials.token()
        response = self._send(method, url, headers, token, options)
        self._credentials.note_answer(token, url, response.status, response.headers)
        return response

    def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, token: AccessToken, options: dict[str, Any]
    ) -> urllib3.BaseHTTPResponse:
        given = self.pool.headers if headers is None else headers
        signed = self._credentials.signed(token, method.upper(), url)
        return self.pool.request(method, url, headers={**given, **signed}, **options)
