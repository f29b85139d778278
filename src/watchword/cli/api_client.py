"""The administrative verbs' way to the admin API: one token, one connection, errors as sentences."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx

from watchword.client import ClientCertificate, ClientCredentials, TokenUnavailable
from watchword.client.wire import may_use_proxy

from . import profile
from .say import fail

ADMIN_API = "urn:watchword:admin"
BIGGEST_ANSWER = 64 << 20
"""Bytes of one answer: many times a page of the largest list."""
MOST_PAGES = 100_000
_OURS = "is WATCHWORD_ISSUER the address of a Watchword server?"
_OF_THE_BODY = {"content-encoding", "content-length", "transfer-encoding"}
_LOST = (httpx.ReadError, httpx.ReadTimeout, httpx.WriteError, httpx.RemoteProtocolError)
"""The connection broke while the request was sent or after that: the server may have carried it out."""


class Refused(Exception):
    """No answer that could be used: `text` says why, `hint` what to do. `again`: nobody was there, or not ready yet."""

    def __init__(self, text: str, hint: str = "", *, again: bool = False) -> None:
        super().__init__(text)
        self.text, self.hint, self.again = text, hint, again


class AdminClient:
    """Calls `/api/v1` of the profile's issuer."""

    def __init__(self, timeout: float = 10) -> None:
        self.known = known = profile.load()
        self.base, _, self._slug = known.issuer.rpartition("/t/")
        proof = known.proof()
        auth = ClientCredentials(known.issuer, known.client_id, proof, resource=ADMIN_API, dpop=known.dpop())
        trust = proof.ssl_context() if isinstance(proof, ClientCertificate) else httpx.create_ssl_context()
        proxied = may_use_proxy(known.issuer)
        self._http = httpx.Client(base_url=self.base, auth=auth, timeout=timeout, verify=trust, trust_env=proxied)

    def call(self, method: str, path: str, body: Any = None, query: dict[str, Any] | None = None) -> Any:
        """The answer's JSON. Exits with 1 and the problem's own words."""
        return self._ask(method, f"/api/v1{path}", body, query)

    def create(self, path: str, body: Any = None) -> Any:
        """POST, to create something. If the connection breaks before the answer, repeats the request once.

        Both requests have the same new `Idempotency-Key`, so the server creates one thing. Exits like `call`.
        """
        return self._ask("POST", f"/api/v1{path}", body, key=str(uuid.uuid4()))

    def management(self, method: str, path: str, body: Any = None) -> Any:
        """The same for the App ID management API of the profile's tenant."""
        return self._ask(method, f"/management/v4/{self._slug}{path}", body)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, for whoever can do something about a refusal. Raises `Refused`."""
        return self._asked(method, f"/api/v1{path}", body)

    def _ask(self, method: str, path: str, body: Any, query: dict[str, Any] | None = None, key: str = "") -> Any:
        try:
            return self._asked(method, path, body, query, key)
        except Refused as refused:
            fail(refused.text, refused.hint)

    def _sent(self, request: httpx.Request) -> httpx.Response:
        """Sent again, if the answer is lost and the request has a key."""
        try:
            return self._whole(request)
        except _LOST:
            if "idempotency-key" not in request.headers:
                raise
            return self._whole(request)

    def _whole(self, request: httpx.Request) -> httpx.Response:
        """The answer with its body. Raises `Refused` for a body that is longer than any of ours."""
        answer = self._http.send(request, stream=True)
        body = bytearray()
        try:
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > BIGGEST_ANSWER:
                    raise Refused(f"the answer of {self.base} is longer than {BIGGEST_ANSWER >> 20} MiB", _OURS)
        finally:
            answer.close()
        kept = [(name, value) for name, value in answer.headers.items() if name not in _OF_THE_BODY]
        return httpx.Response(answer.status_code, headers=kept, content=bytes(body), request=request)

    def _asked(self, method: str, path: str, body: Any, query: dict[str, Any] | None = None, key: str = "") -> Any:
        headers = {"idempotency-key": f'"{key}"'} if key else {}
        try:
            answer = self._sent(self._http.build_request(method, path, json=body, params=query, headers=headers))
        except Refused:
            raise
        except httpx.HTTPError as error:
            raise Refused(
                f"cannot reach {self.base}: {error}", "is `watchword serve` running there?", again=True
            ) from None
        except TokenUnavailable as error:
            hint = "is `watchword serve` running there, and WATCHWORD_ISSUER its issuer?"
            raise Refused(f"no token: {error}", hint, again=True) from None
        except Exception as error:
            hint = "check WATCHWORD_ISSUER, WATCHWORD_CLIENT_ID and what proves it (docs/jobs.md)"
            raise Refused(f"no token: {error}", hint) from None
        if answer.is_success:
            return self._json(answer) if answer.content else None
        told = self._json(answer) if "json" in answer.headers.get("content-type", "") else {}
        problem = told if isinstance(told, dict) else {}
        named = f" ({problem['field']})" if problem.get("field") else ""
        title = problem.get("title") or problem.get("error") or answer.status_code
        detail = problem.get("detail") or problem.get("message") or answer.text[:200]
        raise Refused(f"{title}: {detail}{named}", again=answer.status_code in (429, 503))

    def _json(self, answer: httpx.Response) -> Any:
        try:
            found = answer.json()
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict | list):
            raise Refused(f"the answer of {self.base} is not JSON as Watchword writes it", _OURS)
        return found

    def items(self, path: str, query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """A whole list."""
        return [one for page in self.pages(path, query) for one in page]

    def pages(self, path: str, query: dict[str, Any] | None = None) -> Iterator[list[dict[str, Any]]]:
        """A list, page by page."""
        wanted = dict(query or {})
        for _ in range(MOST_PAGES):
            page = self.call("GET", path, query=wanted)
            if not isinstance(page, dict) or not isinstance(page.get("items"), list):
                fail(f"the answer of {self.base} is no list", _OURS)
            yield page["items"]
            following = page.get("next")
            if not following:
                return
            if following == wanted.get("cursor"):
                fail(f"the list of {self.base} does not end: its next page is the same page", _OURS)
            wanted["cursor"] = following
        fail(f"the list of {self.base} has more than {MOST_PAGES} pages", _OURS)
