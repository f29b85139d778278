"""`watchword.client.enrol` against the server: retries, wrong clocks, waiting, and what a device must not believe."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.enrolling import applications, codes, group
from tests.support.instance import ISSUER, Instance, instance

from watchword.client import (
    CertificateFor,
    Claim,
    ClientCertificate,
    ClientCredentials,
    Clock,
    Device,
    EnrolmentPending,
    InvalidAnswer,
    Network,
    PrivateKeyJwt,
    Secret,
    SecretMissing,
    TokenRefused,
    TokenUnavailable,
    aenrol,
    enrol,
)
from watchword.client.sources import SecretSource
from watchword.jose import Algorithm, PrivateKey

KEY = PrivateKey.generate(Algorithm.ES256)


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance."""
    async with instance(tmp_path) as running:
        yield running


def kept(key: PrivateKey = KEY) -> SecretSource:
    """Where the device's key is."""
    return lambda: Secret(key.to_pem().decode())


class Line(httpx.AsyncBaseTransport):
    """A line that loses the first answers, after the server has heard the request."""

    def __init__(self, ww: Instance, loses: int) -> None:
        self.ww, self.left, self.sent = ww, loses, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.ww.door.handle_async_request(request)
        if request.url.path.endswith("/enrol"):
            self.sent += 1
            if self.left:
                self.left -= 1
                await answer.aread()
                await answer.aclose()
                raise httpx.ReadError("the line broke")
        return answer


async def device(
    ww: Instance,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    now: Callable[[], float] | None = None,
    asleep: Callable[[float], Awaitable[None]] | None = None,
    **options: Any,
) -> Device:
    """What a device gets."""
    clock = Clock(now=now or ww.clock, asleep=asleep or no_time)
    return await aenrol(ISSUER, network=Network(transport=transport or ww.door, clock=clock), **options)


async def no_time(_seconds: float) -> None:
    """Waits for nobody."""


def moved(ww: Instance) -> Callable[[float], Awaitable[None]]:
    """Waiting that the clock shows."""

    async def wait(seconds: float) -> None:
        ww.clock.now += seconds

    return wait


async def test_a_device_is_one_whatever_gets_lost(ww: Instance) -> None:
    """A retry would be another device, or use another code up."""
    (code,) = await codes(ww, await group(ww))
    line = Line(ww, 3)
    made = await device(ww, code=code, serial="SN-1", transport=line)
    assert line.sent == 4
    assert len(await applications(ww)) == 1
    assert made.client_secret is not None
    assert made.client_secret.reveal() not in repr(made)
    auth = ClientCredentials(
        ISSUER,
        made.client_id,
        made.client_secret,
        resource="https://rs0.example/",
        network=Network(transport=ww.door, clock=Clock(now=ww.clock)),
    )
    assert (await auth.atoken()).scope == "a:read"
    with pytest.raises(TokenUnavailable):
        await device(ww, code=code, transport=Line(ww, 99))
    with pytest.raises(TokenRefused) as refused:
        await device(ww, code="wwenr_x")
    assert refused.value.error == "invalid_grant"


async def test_a_key_is_proved_by_the_servers_clock(ww: Instance) -> None:
    """A device without a battery for its clock, which is most, could not enrol."""
    (code,) = await codes(ww, await group(ww))
    made = await device(ww, code=code, key=kept(), enrolment_id="one", now=lambda: ww.clock.now)
    assert (made.auth_method, made.client_secret) == ("private_key_jwt", None)
    auth = ClientCredentials(
        ISSUER,
        made.client_id,
        PrivateKeyJwt(kept()),
        resource="https://rs0.example/",
        network=Network(transport=ww.door, clock=Clock(now=ww.clock)),
    )
    assert (await auth.atoken()).scope == "a:read"
    again = await device(ww, code=code, key=kept(), enrolment_id="one")
    assert again.client_id == made.client_id
    with pytest.raises(SecretMissing):
        await device(ww, code=code, key=lambda: Secret("no key"))

    class Dated(httpx.AsyncBaseTransport):
        """Says what time it is, as every server does."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await ww.door.handle_async_request(request)
            from email.utils import formatdate

            answer.headers["date"] = formatdate(ww.clock.now, usegmt=True)
            return answer

    late = await device(
        ww, code=code, key=kept(), enrolment_id="one", transport=Dated(), now=lambda: ww.clock.now - 10**8
    )
    assert late.client_id == made.client_id


async def test_a_certificate_is_for_the_devices_key(ww: Instance) -> None:
    """The certificate would be worth nothing to who has the key."""
    from cryptography import x509

    (code,) = await codes(ww, await group(ww, auth_methods=["tls_client_auth"]))
    made = await device(ww, code=code, key=CertificateFor(kept()))
    assert made.auth_method == "tls_client_auth"
    assert made.certificate is not None
    assert made.certificate_authority is not None
    read = x509.load_pem_x509_certificate(made.certificate.encode())
    assert read.not_valid_after_utc.timestamp() == made.certificate_expires_at


async def test_a_device_waits_as_long_as_it_is_told(ww: Instance) -> None:
    """It would ask in a tight loop, or give up its place, or lose its ticket."""
    (code,) = await codes(ww, await group(ww, approval="required"))
    with pytest.raises(EnrolmentPending) as pending:
        await device(ww, code=code, enrolment_id="one")
    assert pending.value.ticket is not None
    assert pending.value.retry_after == 30
    with pytest.raises(EnrolmentPending) as still:
        await device(ww, ticket=pending.value.ticket, wait=600.0, asleep=moved(ww))
    assert still.value.ticket == pending.value.ticket
    (one,) = (await ww.call("GET", "/enrolments")).json()["items"]

    async def approving(seconds: float) -> None:
        ww.clock.now += seconds
        assert (await ww.call("POST", f"/enrolments/{one['pending_id']}/approve")).status_code == 200

    made = await device(ww, code=code, enrolment_id="one", wait=3_600.0, asleep=approving)
    assert made.client_secret is not None
    assert len(await applications(ww)) == 1


async def test_many_tasks_of_one_device(ww: Instance) -> None:
    """A device whose start-up is run twice would be two devices."""
    (code,) = await codes(ww, await group(ww, auth_methods=["private_key_jwt"]), uses=9)
    answers = await asyncio.gather(*(device(ww, code=code, key=kept(), enrolment_id="one") for _ in range(6)))
    assert Counter(answer.client_id for answer in answers).most_common()[0][1] == 6


@pytest.mark.parametrize("options", [
    {}, {"code": "a", "ticket": "b"}, {"code": "a", "claim": Claim("g", ClientCertificate("a", "b"))},
    {"code": "a", "network": {"tries": 0}}, {"code": "a", "network": {"endpoint": "http://id.example/enrol"}},
])  # fmt: skip
def test_options_that_do_not_fit(options: dict[str, Any]) -> None:
    """A code would go where others read it, or a mistake be found out by the first device in the field."""
    with pytest.raises(ValueError, match=r"."):
        enrol("https://id.example/t/acme", **{**options, "network": Network(**options.get("network", {}))})


@pytest.mark.parametrize(("status", "body"), [
    (200, {"client_id": 7}), (201, {}), (201, {"client_id": "a", "issuer": "https://evil.example"}), (302, {}), (201, []),
    (201, {"client_id": "a", "certificate": 7}), (201, {"client_id": "a", "client_secret_expires_at": "x"}), (202, {"interval": -1}),
])  # fmt: skip
def test_an_answer_that_is_none(status: int, body: Any) -> None:
    """A device would keep for good what a captive portal said."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=json.dumps(body), headers={"content-type": "application/json"})

    endpoint = "https://id.example/t/acme/enrol"
    with pytest.raises(InvalidAnswer):
        enrol(
            "https://id.example/t/acme",
            code="a",
            network=Network(endpoint=endpoint, transport=httpx.MockTransport(answer)),
        )
