"""Every adapter, as the program of its page, under the one contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import httpx
import pytest
from tests.adapters import contract, pages
from tests.adapters.contract import AUDIENCE, CLIENT, REFUSED, SCOPE, Case, Headers, Issuer, Outcome, Service

FRAMEWORKS = ["aiohttp", "asgi", "django", "drf", "fastapi", "flask", "grpc", "litestar", "starlette"]
HTTP = [name for name in FRAMEWORKS if name != "grpc"]
HEAD = {"fastapi": 405, "litestar": 405}
"""Those two route HEAD only where the application says so."""
OPTIONS = {
    "aiohttp": 405, "asgi": 401, "django": 401, "drf": 401, "fastapi": 405, "flask": 200, "litestar": 204,
    "starlette": 405,
}  # fmt: skip
"""Flask and Litestar answer by themselves with Allow and never call the view."""


class OverHttp:
    """A page's program behind httpx."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"

    def call(self, headers: Headers, query: str = "", method: str = "GET", path: str = "/charges") -> Outcome:
        """One request."""
        answer = httpx.request(method, f"{self.base}{path}{query}", headers=headers, timeout=30)
        return Outcome(answer.status_code, answer.headers.get("www-authenticate", ""), answer.text)

    def request_id_of(self, headers: Headers) -> str:
        """What a refusal joins itself by."""
        answer = httpx.get(f"{self.base}/charges", headers=headers, timeout=30)
        assert answer.status_code == 401
        return str(answer.headers.get("x-request-id", ""))


class OverGrpc:
    """The gRPC page's program behind a channel; codes are shown as the HTTP status they stand for."""

    STATUS = {  # noqa: RUF012 (constant)
        grpc.StatusCode.UNAUTHENTICATED: 401,
        grpc.StatusCode.PERMISSION_DENIED: 403,
        grpc.StatusCode.UNAVAILABLE: 503,
    }

    def __init__(self, port: int) -> None:
        self.port = port

    def call(self, headers: Headers, query: str = "") -> Outcome:
        """One call."""
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            charge = channel.unary_unary("/payments.Payments/Charge")
            try:
                return Outcome(200, "", charge(b"", metadata=headers, timeout=30).decode())
            except grpc.RpcError as error:
                trailers = dict(error.trailing_metadata() or ())
                return Outcome(self.STATUS[error.code()], trailers.get("www-authenticate", ""), error.details())

    def request_id_of(self, headers: Headers) -> str:
        """What a refusal joins itself by."""
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/payments.Payments/Charge")(b"", metadata=headers, timeout=30)
        return str(dict(refused.value.trailing_metadata()).get("x-request-id", ""))


def reach(name: str, port: int) -> Service:
    return OverGrpc(port) if name == "grpc" else OverHttp(port)


@pytest.fixture(scope="module")
def service(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Service]]:
    """Programs are started when they are first asked for, and live as long as the module's tests."""
    with ExitStack() as stack:
        ports: dict[str, int] = {}

        def started(name: str) -> Service:
            if name not in ports:
                ports[name] = stack.enter_context(pages.running(name, issuer.url, tmp_path_factory.mktemp(name)))
            return reach(name, ports[name])

        yield started


def test_every_page_is_in_the_contract() -> None:
    """A page whose program nobody runs rots, and its adapter refuses what it likes."""
    assert pages.names() == FRAMEWORKS


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in REFUSED])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_refused(name: str, case: Case, service: Callable[[str], Service], issuer: Issuer) -> None:
    """A framework whose adapter differs by one case is an open API."""
    # gRPC has no code for a malformed credential but UNAUTHENTICATED.
    status = 401 if (name, case.status) == ("grpc", 400) else None
    contract.refuses(service(name), case, issuer, status)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_accepted(name: str, scheme: str, service: Callable[[str], Service], issuer: Issuer) -> None:
    """The scheme is case-insensitive (RFC 9110 section 11.1), and the handler must know its caller."""
    contract.accepts(service(name), scheme, issuer)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_dpop(name: str, service: Callable[[str], Service], issuer: Issuer) -> None:
    """DPO-002, DPO-005, DPO-046: an adapter that hands over another method or path lets thieves in, or no one."""
    method, path = ("POST", "/payments.Payments/Charge") if name == "grpc" else ("GET", "/charges")
    contract.takes_dpop(service(name), issuer, method, path)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_accepted_with_more_scopes(name: str, service: Callable[[str], Service], issuer: Issuer) -> None:
    """A token may hold more than one endpoint needs."""
    contract.accepts(service(name), "Bearer", issuer, scope=f"a:read {SCOPE} b:write")


@pytest.mark.parametrize("name", [name for name in FRAMEWORKS if name != "drf"])
@pytest.mark.parametrize("sent", ["X-Request-Id", "traceparent"])
def test_the_request_id_goes_back(name: str, sent: str, service: Callable[[str], Service]) -> None:
    """The caller's error could not be joined with this API's log. (REST framework's handler sets no header of ours.)"""
    id_ = "4bf92f3577b34da6a3ce929d0e0e4736"
    value = id_ if sent == "X-Request-Id" else f"00-{id_}-00f067aa0ba902b7-01"
    program, headers = service(name), [(sent.lower(), value), *contract.bearer("a.b.c")]
    assert program.request_id_of(headers) == id_  # type: ignore[attr-defined]
    assert program.request_id_of([("x-request-id", "a b"), *contract.bearer("a.b.c")]) == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", HTTP)
def test_token_in_the_query(name: str, service: Callable[[str], Service], issuer: Issuer) -> None:
    """JWT-042: addresses are logged by every proxy; a token in one must be worth nothing."""
    got = service(name).call([], f"?access_token={issuer.token()}")
    assert got.status == 401
    assert "error=" not in got.challenge


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_keys_unavailable(name: str, issuer: Issuer, tmp_path: Path) -> None:
    """401 would make every caller throw its good token away; 200 would let everyone in."""
    with pages.running(name, f"http://127.0.0.1:{pages.free_port()}/t/acme", tmp_path) as port:
        contract.is_unavailable(reach(name, port), issuer)


@pytest.mark.parametrize("name", HTTP)
def test_metadata(name: str, service: Callable[[str], Service], issuer: Issuer) -> None:
    """RFC 9728: a caller that is refused could not find out where tokens come from."""
    program = service(name)
    assert isinstance(program, OverHttp)
    got = program.call([], path="/.well-known/oauth-protected-resource")
    assert got.status == 200, got
    document = json.loads(got.text)
    assert (document["resource"], document["authorization_servers"]) == (AUDIENCE, [issuer.url])
    assert document["bearer_methods_supported"] == ["header"]
    address = f'resource_metadata="{AUDIENCE}/.well-known/oauth-protected-resource"'
    assert program.call([]).challenge == f"Bearer {address}"
    assert address in program.call(contract.bearer("a.b.c")).challenge


@pytest.mark.parametrize("name", HTTP)
def test_head(name: str, service: Callable[[str], Service], issuer: Issuer) -> None:
    """HEAD is GET without a body; a door that only GET goes through would stand open beside it."""
    program = service(name)
    assert isinstance(program, OverHttp)
    without, good = program.call([], method="HEAD"), program.call(contract.bearer(issuer.token()), method="HEAD")
    assert (without.status, good.status) == (HEAD.get(name, 401), HEAD.get(name, 200))
    assert (without.text, good.text) == ("", "")


@pytest.mark.parametrize("name", HTTP)
def test_options(name: str, service: Callable[[str], Service]) -> None:
    """A preflight carries no token: whatever answers it must not be the handler."""
    program = service(name)
    assert isinstance(program, OverHttp)
    got = program.call([], method="OPTIONS")
    assert (got.status, CLIENT in got.text) == (OPTIONS[name], False)


@pytest.mark.parametrize("name", ["post", "put", "delete", "patch"])
def test_other_methods_of_a_view(name: str, service: Callable[[str], Service]) -> None:
    """A Django view takes every method, and so does ASGI: each must pass the same door."""
    for framework in ("django", "asgi"):
        program = service(framework)
        assert isinstance(program, OverHttp)
        assert program.call([], method=name.upper()).status == 401
