"""The same tokens for urllib3. Imported only when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import urllib3

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watchword.client.credentials import ClientCredentials


class AuthorizedPool:
    """A pool manager that signs what it sends: ``auth.for_urllib3().request("GET", url)``.

    It stands around a `urllib3.PoolManager`, which takes the header off when a redirect leaves the host.
    A 401 is retried once with a new token.
    """

    def __init__(self, credentials: ClientCredentials, pool: urllib3.PoolManager | None = None) -> None:
        self._credentials = credentials
        self.pool = pool if pool is not None else urllib3.PoolManager()

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """`urllib3.PoolManager.request` with the token; the same options."""
        self._credentials.check_target(url)
        token = self._credentials.token()
        response = self._send(method, url, headers, token.value, options)
        if response.status != 401:
            return response
        self._credentials.drop(token)
        if not isinstance(options.get("body"), bytes | str | None):
            return response  # a file or generator cannot be sent twice
        response.drain_conn()
        return self._send(method, url, headers, self._credentials.token().value, options)

    def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, value: str, options: dict[str, Any]
    ) -> urllib3.BaseHTTPResponse:
        given = self.pool.headers if headers is None else headers
        return self.pool.request(method, url, headers={**given, "Authorization": f"Bearer {value}"}, **options)
