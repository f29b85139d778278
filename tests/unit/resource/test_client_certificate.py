"""Certificate-bound tokens (RFC 8705 section 3) at an API: which certificate counts, and where it may come from."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from flask import Flask
from tests.support.certificates import Held, cn, issue
from tests.unit.resource.test_verifier import API, ISSUER, NOW, claims, public, signed
from tests.unit.resource.test_verifier import KEY as SIGNER

from watchword.jose.certificates import certificate_thumbprint
from watchword.resource import Fetch, TokenInvalid, TrustedProxy, Verifier
from watchword.resource.asgi import RequireToken
from watchword.resource.flask import RequireToken as FlaskRequireToken

HELD, OTHER = issue(cn("caller"), NOW), issue(cn("caller"), NOW)
BOUND = signed(claims(cnf={"x5t#S256": certificate_thumbprint(HELD.der)}))


def verifier() -> Verifier:
    def answer(request: httpx.Request) -> httpx.Response:
        metadata = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}
        return httpx.Response(200, json=metadata if ".well-known" in request.url.path else public(SIGNER))

    return Verifier(ISSUER, audience=API, now=lambda: NOW, fetch=Fetch(transport=httpx.MockTransport(answer)))


async def test_the_binding() -> None:
    """MTL-016, MTL-017: a stolen token is good without its certificate; also when it was seen with it before."""
    judge = verifier()
    for _ in range(2):
        assert judge.verify(BOUND, "a:read", certificate=HELD.der).bound_to == certificate_thumbprint(HELD.der)
        assert (await judge.averify(BOUND, certificate=HELD.der)).client_id == "app"
        for shown in (None, OTHER.der):
            with pytest.raises(TokenInvalid):
                judge.verify(BOUND, "a:read", certificate=shown)
            with pytest.raises(TokenInvalid):
                await judge.averify(BOUND, certificate=shown)
    assert judge.verify(signed(), certificate=OTHER.der).bound_to == ""


@pytest.mark.parametrize(
    "cnf", [{"x5t#S256": "x"}, {"x5t#S256": None}, {"x5t#S256": "A" * 43, "jkt": "x"}, [], "x", {}]
)
def test_a_confirmation_that_is_none(cnf: Any) -> None:
    """JWT-040: what this library does not understand must not become "no binding"."""
    with pytest.raises(TokenInvalid):
        verifier().verify(signed(claims(cnf=cnf)), certificate=HELD.der)


async def asked(
    headers: dict[str, str], peer: str, proxy: TrustedProxy | None, tls: dict[str, Any] | None = None
) -> int:
    """The status of one ASGI request with the bound token."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guarded = RequireToken(app, verifier(), "a:read", proxy=proxy)

    async def with_tls(scope: Any, receive: Any, send: Any) -> None:
        await guarded({**scope, "extensions": {"tls": tls}} if tls is not None else scope, receive, send)

    transport = httpx.ASGITransport(with_tls, client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url=API) as client:
        answer = await client.get("/", headers={"authorization": f"Bearer {BOUND}", **headers})
        if answer.status_code != 200:
            assert answer.json()["error"] == "invalid_token"
        return answer.status_code


async def test_asgi() -> None:
    """Who writes the header himself would hold every certificate."""
    proxy = TrustedProxy("client-cert", ["10.0.0.0/8"])
    header = {"client-cert": HELD.rfc9440}
    assert await asked(header, "10.1.2.3", proxy) == 200
    assert await asked(header, "192.0.2.1", proxy) == 401
    assert await asked(header, "10.1.2.3", None) == 401
    assert await asked({"client-cert": OTHER.rfc9440}, "10.1.2.3", proxy) == 401
    assert await asked({"client-cert": "nonsense"}, "10.1.2.3", proxy) == 401
    assert await asked({"x-forwarded-client-cert": HELD.envoy}, "10.1.2.3", proxy) == 401
    assert await asked({}, "192.0.2.1", proxy, {"client_cert": HELD.der}) == 200
    assert await asked({}, "192.0.2.1", None, {"client_cert_chain": [HELD.pem, OTHER.pem]}) == 200
    assert await asked({}, "192.0.2.1", None, {"client_cert_chain": [OTHER.pem, HELD.pem]}) == 401
    # The certificate of the connection is the proxy's own.
    assert await asked({}, "10.1.2.3", proxy, {"client_cert": HELD.der}) == 401


def test_wsgi() -> None:
    """WSGI joins repeated headers with a comma: two certificates must not become one."""
    app = Flask("api")
    require = FlaskRequireToken(verifier(), proxy=TrustedProxy("x-forwarded-client-cert", ["127.0.0.1"]))
    app.get("/")(require("a:read")(lambda: "fine"))

    def status(held: Held, peer: str = "127.0.0.1", times: int = 1) -> int:
        headers = [("Authorization", f"Bearer {BOUND}"), ("X-Forwarded-Client-Cert", ",".join([held.envoy] * times))]
        return app.test_client().get("/", headers=headers, environ_base={"REMOTE_ADDR": peer}).status_code

    assert (status(HELD), status(OTHER), status(HELD, "192.0.2.1"), status(HELD, times=2)) == (200, 401, 401, 401)


@pytest.mark.parametrize(
    "given", [("client-cert", []), ("x-ssl-cert", ["::1"]), ("client-cert", "::1"), ("client-cert", ["*"])]
)
def test_a_proxy_is_named(given: tuple[Any, Any]) -> None:
    """ "Any proxy" is any caller."""
    with pytest.raises(ValueError):
        TrustedProxy(*given)
