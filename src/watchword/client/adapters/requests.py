"""Authenticate requests of the requests library, also with a client certificate. Imported only when it is used."""

from __future__ import annotations

import ssl
from typing import Any

from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from watchword.client.adapters.port import SignsRequests


class CertificateAdapter(HTTPAdapter):
    """Connections that show a client certificate."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See `HTTPAdapter`."""
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: object) -> None:
        """The context verifies servers: requests would replace its CA certificates by its own bundle."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        conn.ca_certs = conn.ca_cert_dir = None


class RequestsAuth(AuthBase):
    """``requests.get(url, auth=RequestsAuth(credentials))``; a 401 is retried once with a new token, or nonce."""

    def __init__(self, credentials: SignsRequests) -> None:
        self._credentials = credentials

    def __call__(self, request: Any) -> Any:
        """Sign a prepared request; requests itself takes the header off when a redirect leaves the host."""
        self._credentials.check_target(request.url)
        token = self._credentials.token()
        request.headers.update(self._credentials.signed(token, request.method, request.url))
        sent, proof = request.headers["Authorization"], request.headers.get("DPoP")

        def once_more(response: Any, **options: Any) -> Any:
            asked = response.request
            if asked.headers.get("Authorization") != sent or asked.headers.get("DPoP") != proof:
                return response  # not ours: a redirect took the header off, or this was the second try
            again = self._credentials.note_answer(token, asked.url, response.status_code, response.headers)
            if not again or not isinstance(asked.body, bytes | str | None):
                return response
            _ = response.content
            response.close()
            repeated = asked.copy()
            newer = self._credentials.token()
            repeated.headers.update(self._credentials.signed(newer, asked.method, asked.url))
            second = response.connection.send(repeated, **options)
            second.history.append(response)
            second.request = repeated
            self._credentials.note_answer(newer, asked.url, second.status_code, second.headers)
            return second

        request.register_hook("response", once_more)
        return request
