"""A device gets an identity of its own: from a code, an expected key, or its manufacturer's certificate.

>>> device = enrol("https://id.example/t/acme", code="wwenr_...", enrolment_id=kept)  # doctest: +SKIP
>>> ClientCredentials(device.issuer, device.client_id, device.client_secret)  # doctest: +SKIP

The server knows a repeat by the enrolment id, the key or the certificate, so every request may be sent again. Make the
enrolment id once and keep it *before* the first request: a device that forgot it is another device.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from watchword.client import wire
from watchword.client.client_certificate import ClientCertificate
from watchword.client.credentials import chance, pause
from watchword.client.errors import EnrolmentPending, InvalidAnswer, SecretMissing
from watchword.client.exchange import Exchange
from watchword.client.flow import TOLERATED_SKEW, Pause, Steps, ask
from watchword.client.secret import Secret
from watchword.client.wire import Answer, Ask

if TYPE_CHECKING:
    from watchword.client.exchange import Transport
    from watchword.client.sources import SecretSource
    from watchword.jose import PrivateKey

PROOF_LIFE: Final = 60
"""Seconds for which the proof of a key is good."""


@dataclass(frozen=True, slots=True)
class Device:
    """Who the device is from now on. Times are Unix seconds; PEM has no private key."""

    issuer: str
    client_id: str
    name: str
    auth_method: str
    client_secret: Secret | None = None
    secret_expires_at: float | None = None
    certificate: str | None = None
    certificate_authority: str | None = None
    certificate_expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    issuer: str
    members: dict[str, Any] = field(repr=False)
    enrolment_id: str
    key: SecretSource | None
    wants_certificate: bool
    endpoint: str | None
    by_certificate: bool
    insecure_http: bool
    wait: float
    tries: int
    now: Callable[[], float]
    rng: Callable[[], float]


class Options(TypedDict, total=False):
    """What `enrol` and `aenrol` take.

    A ``code``, or the ``ticket`` of an earlier `EnrolmentPending`; or a ``group`` with ``claim``, the manufacturer's
    certificate; or a ``key`` alone, which then has to be expected.
    """

    code: str | None
    ticket: str | None
    group: str | None
    claim: ClientCertificate | None
    key: SecretSource | None
    """Where the device's own private key is kept: PEM, without a passphrase. It never travels."""
    wants_certificate: bool
    """A certificate for the key, in place of registering the key itself."""
    serial: str | None
    enrolment_id: str | None
    """By which repeats are known; one made here is forgotten with the call."""
    wait: float
    """Seconds for which an administrator's decision is waited for."""
    endpoint: str | None
    """Skips discovery."""
    timeout: float
    tries: int
    insecure_http: bool
    now: Callable[[], float]
    rng: Callable[[], float]
    transport: Transport | None


def enrol(issuer: str, *, sleep: Callable[[float], None] = time.sleep, **options: Unpack[Options]) -> Device:
    """The device's identity: the same one each time that it is asked for.

    Raises:
        TokenError: `EnrolmentPending` while an administrator has not decided, `TokenRefused` when the group does not
            let the device in (``access_denied``: an administrator did not), and what else getting a token can raise.
        ValueError: options that do not fit, or a URL where no code may go.
    """
    plan, exchange = _planned(issuer, **options)
    return exchange.drive(_steps(plan), sleep)


async def aenrol(
    issuer: str, *, asleep: Callable[[float], Awaitable[None]] = pause, **options: Unpack[Options]
) -> Device:
    """`enrol`, for an event loop."""
    plan, exchange = _planned(issuer, **options)
    return await exchange.adrive(_steps(plan), asleep)


def _planned(
    issuer: str,
    *,
    code: str | None = None,
    ticket: str | None = None,
    group: str | None = None,
    claim: ClientCertificate | None = None,
    key: SecretSource | None = None,
    wants_certificate: bool = False,
    serial: str | None = None,
    enrolment_id: str | None = None,
    wait: float = 0.0,
    endpoint: str | None = None,
    timeout: float = 10.0,
    tries: int = 5,
    insecure_http: bool = False,
    now: Callable[[], float] = time.time,
    rng: Callable[[], float] = chance,
    transport: Transport | None = None,
) -> tuple[_Plan, Exchange]:
    if sum(given is not None for given in (code, ticket, group)) > 1 or (group is None) != (claim is None):
        raise ValueError("give a code, a ticket, or a group with the manufacturer's certificate")
    if code is None and ticket is None and group is None and key is None:
        raise ValueError("give a code, or a key that is expected")
    if wants_certificate and key is None:
        raise ValueError("a certificate is for a key: give it")
    if tries < 1:
        raise ValueError("tries is at least 1")
    members = {"code": code, "ticket": ticket, "group": group, "serial": serial}
    plan = _Plan(
        issuer=wire.checked_url(issuer, "issuer", insecure_http=insecure_http),
        members={name: value for name, value in members.items() if value is not None},
        enrolment_id=enrolment_id or secrets.token_urlsafe(16),
        key=key,
        wants_certificate=wants_certificate,
        endpoint=endpoint and wire.checked_url(endpoint, "endpoint", insecure_http=insecure_http),
        by_certificate=claim is not None,
        insecure_http=insecure_http,
        wait=wait,
        tries=tries,
        now=now,
        rng=rng,
    )
    return plan, Exchange(timeout, transport, claim.ssl_context if claim is not None else None)


def renew_certificate(
    issuer: str,
    client_id: str,
    certificate: ClientCertificate,
    key: SecretSource,
    *,
    endpoint: str | None = None,
    timeout: float = 10.0,
    tries: int = 5,
    insecure_http: bool = False,
    now: Callable[[], float] = time.time,
    rng: Callable[[], float] = chance,
    sleep: Callable[[float], None] = time.sleep,
    transport: Transport | None = None,
) -> Device:
    """The next certificate, for ``key``, which may be a new one; ``certificate`` is the one that is still good.

    Raises `TokenError`; ValueError as `enrol`.
    """
    if tries < 1:
        raise ValueError("tries is at least 1")
    plan = _Plan(
        issuer=wire.checked_url(issuer, "issuer", insecure_http=insecure_http), members={"client_id": client_id},
        enrolment_id="", key=key, wants_certificate=True,
        endpoint=endpoint and wire.checked_url(endpoint, "endpoint", insecure_http=insecure_http), by_certificate=True,
        insecure_http=insecure_http, wait=0.0, tries=tries, now=now, rng=rng,
    )  # fmt: skip
    return Exchange(timeout, transport, certificate.ssl_context).drive(_renewal(plan), sleep)


# -- without I/O ----------------------------------------------------------------------------------


def _steps(plan: _Plan) -> Steps[Device]:
    endpoint = plan.endpoint or (yield from _discovered(plan))
    until, offset = plan.now() + plan.wait, 0.0
    while True:
        answer, _ = yield from ask(plan, _request(plan, endpoint, offset), plan.tries)
        ahead = wire.clock_ahead(answer, plan.now())
        if answer.status == 400 and plan.key is not None and not offset and abs(ahead) > TOLERATED_SKEW:
            offset = ahead  # a device's clock is often wrong, and its proof is dated
            continue
        if answer.status != 202:
            return _read(answer, plan)
        told = wire.json_object(answer)
        ticket, interval = told.get("ticket"), _number(told, "interval", 60.0)
        if isinstance(ticket, str):
            rest = {name: value for name, value in plan.members.items() if name != "code"}
            plan = replace(plan, members={**rest, "ticket": ticket})
        if plan.now() + interval > until:
            known = plan.members.get("ticket")
            raise EnrolmentPending(known if isinstance(known, str) else None, interval)
        yield Pause(interval)


def _renewal(plan: _Plan) -> Steps[Device]:
    endpoint = plan.endpoint or f"{(yield from _discovered(plan))}/renew"
    body = {**plan.members, "csr": _csr(_key(plan))}
    answer, _ = yield from ask(plan, lambda _now: _post(endpoint, body), plan.tries)
    return _read(answer, plan)


def _discovered(plan: _Plan) -> Steps[str]:
    """The endpoint of metadata that is the issuer's own (RFC 8414 section 3.3)."""
    answer, _ = yield from ask(plan, lambda _now: wire.metadata_request(plan.issuer), plan.tries)
    return wire.read_metadata(
        answer, plan.issuer, insecure_http=plan.insecure_http, mtls=plan.by_certificate, member="enrolment_endpoint"
    )


def _request(plan: _Plan, endpoint: str, offset: float) -> Callable[[float], Ask]:
    """Built anew for each try: the proof of a key is dated."""

    def build(now: float) -> Ask:
        body: dict[str, Any] = {**plan.members, "enrolment_id": plan.enrolment_id}
        if plan.key is not None and plan.wants_certificate:
            body["csr"] = _csr(_key(plan))
        elif plan.key is not None:
            body |= _proved(_key(plan), plan, now + offset)
        return _post(endpoint, body)

    return build


def _post(endpoint: str, body: dict[str, Any]) -> Ask:
    headers = {
        "accept": "application/json", "accept-encoding": "identity", "content-type": "application/json",
    }  # fmt: skip
    return Ask("POST", endpoint, headers, json.dumps(body).encode())


def _key(plan: _Plan) -> PrivateKey:
    from watchword.jose import JoseError, PrivateKey

    assert plan.key is not None
    try:
        return PrivateKey.from_pem(plan.key().reveal().encode())
    except JoseError as error:
        raise SecretMissing(f"the key is {error}; write one with: openssl genpkey -algorithm ed25519") from None


def _proved(key: PrivateKey, plan: _Plan, now: float) -> dict[str, Any]:
    from watchword.jose import Signer

    claims = {"iss": plan.enrolment_id, "aud": plan.issuer, "iat": int(now), "exp": int(now) + PROOF_LIFE}
    proof = Signer(key, "enrolment+jwt").sign(json.dumps(claims).encode())
    return {"jwks": {"keys": [key.public.to_jwk()]}, "proof": proof}


def _csr(key: PrivateKey) -> str:
    from watchword.jose.device_ca import certificate_request

    return certificate_request(key)


def _read(answer: Answer, plan: _Plan) -> Device:
    if 400 <= answer.status < 500:
        raise wire.refusal(answer)
    if answer.status not in (200, 201):
        raise InvalidAnswer(f"the enrolment endpoint answered {answer.status}")
    told = wire.json_object(answer)
    if told.get("issuer", plan.issuer) != plan.issuer:
        raise InvalidAnswer("the answer is of another issuer")
    secret = _text(told, "client_secret")
    return Device(
        issuer=plan.issuer,
        client_id=_text(told, "client_id") or _lacks("client_id"),
        name=_text(told, "client_name") or "",
        auth_method=_text(told, "token_endpoint_auth_method") or "tls_client_auth",
        client_secret=Secret(secret) if secret else None,
        secret_expires_at=_number(told, "client_secret_expires_at", 0.0) or None,
        certificate=_text(told, "certificate"),
        certificate_authority=_text(told, "certificate_authority"),
        certificate_expires_at=_number(told, "certificate_expires_at", 0.0) or None,
    )


def _text(told: dict[str, Any], name: str) -> str | None:
    value = told.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidAnswer(f"{name} is not a text")
    return value


def _number(told: dict[str, Any], name: str, default: float) -> float:
    value = told.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise InvalidAnswer(f"{name} is not a number")
    return float(value)


def _lacks(name: str) -> str:
    raise InvalidAnswer(f"the answer has no {name}")
