"""GET {issuer}/statuslists/{name}: a status list token (draft-ietf-oauth-status-list-21 section 8)."""

from __future__ import annotations

from ...protocol.status_list import PATH, TYPE
from ...service.tokens.serve_status_list import ServeStatusList
from ...service.view import TenantView
from ..wire import SECURITY, Header, Headers, Scope, Send, accepts, answer, encode_json, not_found

MEDIA_TYPE = f"application/{TYPE}".encode()
_ACCEPTABLE = (MEDIA_TYPE, b"application/*", b"*/*")


class StatusListEndpoint:
    """Public: it tells nobody more than that some token of a list was revoked. Only the JWT form is served."""

    def __init__(self, serve: ServeStatusList) -> None:
        self._serve = serve

    async def __call__(self, tenant: TenantView, scope: Scope, send: Send) -> None:
        """200, 304, 404 for a list that is not ours or is over, 406 for another form."""
        Headers(scope["headers"])
        found = await self._serve(tenant, scope["raw_path"].decode("latin-1").rpartition(PATH)[2])
        if found is None:
            return await not_found(send)
        asked = [value for name, value in scope["headers"] if name == b"accept"]
        if asked and not accepts(scope["headers"], *_ACCEPTABLE):
            text = f"status lists are served as {MEDIA_TYPE.decode()} only"
            return await answer(send, 406, encode_json({"error": "not_acceptable", "error_description": text}))
        fields: tuple[Header, ...] = (
            (b"cache-control", b"public, max-age=%d" % self._serve.ttl),
            (b"etag", found.etag),
            (b"access-control-allow-origin", b"*"),
            (b"vary", b"accept"),
            *SECURITY,
        )
        wanted = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
        if found.etag in wanted:
            await send({"type": "http.response.start", "status": 304, "headers": list(fields)})
            return await send({"type": "http.response.body", "body": b""})
        body = b"" if scope["method"] == "HEAD" else found.token
        length = (b"content-length", b"%d" % len(found.token))
        heading = [(b"content-type", MEDIA_TYPE), length, *fields]
        await send({"type": "http.response.start", "status": 200, "headers": heading})
        return await send({"type": "http.response.body", "body": body})
