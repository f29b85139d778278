"""Enrol a device: with an enrolment code, a key that the group expects, or the manufacturer's certificate.

>>> device = enrol("https://id.example/t/acme", code="wwenr_...", enrolment_id=kept)  # doctest: +SKIP
>>> ClientCredentials(device.issuer, device.client_id, device.client_secret)  # doctest: +SKIP

The server recognises a repeat by the enrolment id, the key or the certificate, so every request may be sent again.
Make the enrolment id once and store it *before* the first request: a device that lost it enrols as a new device.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from watchword.client import wire
from watchword.client.client_certificate import ClientCertificate
from watchword.client.errors import EnrolmentPending, InvalidAnswer, SecretMissing
from watchword.client.exchange import Exchange
from watchword.client.flow import TOLERATED_SKEW, Pause, Steps, ask
from watchword.client.network import DIRECT, Network
from watchword.client.secret import Secret
from watchword.client.sources import SecretSource
from watchword.client.wire import Answer, Ask

if TYPE_CHECKING:
    from watchword.jose import PrivateKey

TIMEOUT: Final = 10.0
"""Seconds for an enrolment request."""
TRIES: Final = 5
"""How often an enrolment request is sent."""
PROOF_LIFE: Final = 60
"""Seconds for which the proof of a key is good."""


@dataclass(frozen=True, slots=True)
class Device:
    """The identity that a device got. Times are Unix seconds; ``certificate`` is PEM without the private key."""

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
    by_certificate: bool
    wait: float
    network: Network

    @property
    def now(self) -> Callable[[], float]:
        return self.network.clock.now

    @property
    def rng(self) -> Callable[[], float]:
        return self.network.clock.rng

    @property
    def tries(self) -> int:
        return self.network.tries_or(TRIES)


@dataclass(frozen=True, slots=True)
class Claim:
    """The manufacturer's certificate as the right to enrol: ``enrol(issuer, claim=Claim("sensors", certificate))``.

    Args:
        group: the enrolment group that trusts the manufacturer.
        certificate: the manufacturer's certificate and its key; the TLS connection shows it.
    """

    group: str
    certificate: ClientCertificate


@dataclass(frozen=True, slots=True)
class CertificateFor:
    """A certificate for the device's key instead of the key itself: ``enrol(issuer, key=CertificateFor(...))``.

    ``key`` reads the device's private key: PEM, without a passphrase.
    """

    key: SecretSource


def enrol(
    issuer: str,
    *,
    code: str | None = None,
    ticket: str | None = None,
    claim: Claim | None = None,
    key: SecretSource | CertificateFor | None = None,
    serial: str | None = None,
    enrolment_id: str | None = None,
    wait: float = 0.0,
    network: Network = DIRECT,
) -> Device:
    """Enrol the device. Calls with the same enrolment id, key or certificate return the same identity.

    Args:
        issuer: the issuer's URL; the enrolment endpoint is discovered from it.
        code: an enrolment code. Give one of ``code``, ``ticket`` and ``claim``; or ``key`` alone, if the group expects
            that key.
        ticket: of an earlier `EnrolmentPending`.
        claim: the manufacturer's certificate and the group that trusts it.
        key: reads the device's own private key, PEM, without a passphrase. The key never leaves the device: its
            public half is registered, or certified with `CertificateFor`. None: the device gets a client secret.
        serial: the device's serial number.
        enrolment_id: by which the server recognises repeats. None makes one for this call only.
        wait: seconds to wait for an administrator's decision.
        network: timeouts, retries and more: see `watchword.client.network.Network`.

    Raises:
        TokenError: `EnrolmentPending` while an administrator has not decided, `TokenRefused` when the group does not
            let the device in (``access_denied``: an administrator denied it), and all other errors of a token request.
        ValueError: arguments that do not fit together, or a URL to which no code may be sent.
    """
    members = _members(code, ticket, claim, key, serial)
    plan = _planned(issuer, members, key, enrolment_id=enrolment_id, claim=claim, wait=wait, network=network)
    return _exchange(network, claim).drive(_steps(plan), network.clock.sleep)


async def aenrol(
    issuer: str,
    *,
    code: str | None = None,
    ticket: str | None = None,
    claim: Claim | None = None,
    key: SecretSource | CertificateFor | None = None,
    serial: str | None = None,
    enrolment_id: str | None = None,
    wait: float = 0.0,
    network: Network = DIRECT,
) -> Device:
    """`enrol`, for an event loop."""
    members = _members(code, ticket, claim, key, serial)
    plan = _planned(issuer, members, key, enrolment_id=enrolment_id, claim=claim, wait=wait, network=network)
    return await _exchange(network, claim).adrive(_steps(plan), network.clock.asleep)


def renew_certificate(
    issuer: str,
    client_id: str,
    certificate: ClientCertificate,
    key: SecretSource,
    *,
    network: Network = DIRECT,
) -> Device:
    """The device's next certificate, for ``key``, which may be a new one. ``certificate`` is the one in use.

    Raises `TokenError`; ValueError as `enrol`.
    """
    plan = _Plan(
        wire.checked_url(issuer, "issuer", insecure_http=network.insecure_http), {"client_id": client_id},
        enrolment_id="", key=key, wants_certificate=True, by_certificate=True, wait=0.0, network=_checked(network),
    )  # fmt: skip
    return _exchange(network, certificate).drive(_renewal(plan), network.clock.sleep)


def _members(
    code: str | None,
    ticket: str | None,
    claim: Claim | None,
    key: SecretSource | CertificateFor | None,
    serial: str | None,
) -> dict[str, Any]:
    """The members of the request that do not change from try to try."""
    rights = (code, ticket, claim)
    if sum(given is not None for given in rights) > 1:
        raise ValueError("give a code, a ticket, or a group with the manufacturer's certificate")
    if key is None and all(given is None for given in rights):
        raise ValueError("give a code, or a key that is expected")
    members = {"code": code, "ticket": ticket, "group": claim.group if claim is not None else None, "serial": serial}
    return {name: value for name, value in members.items() if value is not None}


def _planned(
    issuer: str,
    members: dict[str, Any],
    key: SecretSource | CertificateFor | None,
    *,
    enrolment_id: str | None,
    claim: Claim | None,
    wait: float,
    network: Network,
) -> _Plan:
    return _Plan(
        issuer=wire.checked_url(issuer, "issuer", insecure_http=network.insecure_http),
        members=members,
        enrolment_id=enrolment_id or secrets.token_urlsafe(16),
        key=key.key if isinstance(key, CertificateFor) else key,
        wants_certificate=isinstance(key, CertificateFor),
        by_certificate=claim is not None,
        wait=wait,
        network=_checked(network),
    )


def _checked(network: Network) -> Network:
    if network.endpoint is not None:
        wire.checked_url(network.endpoint, "endpoint", insecure_http=network.insecure_http)
    return network


def _exchange(network: Network, shown: Claim | ClientCertificate | None) -> Exchange:
    certificate = shown.certificate if isinstance(shown, Claim) else shown
    tls = certificate.ssl_context if certificate is not None else None
    return Exchange(network.timeout_or(TIMEOUT), network.transport, tls)


# -- without I/O ----------------------------------------------------------------------------------


def _steps(plan: _Plan) -> Steps[Device]:
    endpoint = plan.network.endpoint or (yield from _discovered(plan))
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
    endpoint = plan.network.endpoint or f"{(yield from _discovered(plan))}/renew"
    body = {**plan.members, "csr": _csr(_key(plan))}
    answer, _ = yield from ask(plan, lambda _now: _post(endpoint, body), plan.tries)
    return _read(answer, plan)


def _discovered(plan: _Plan) -> Steps[str]:
    """The endpoint of metadata that is the issuer's own (RFC 8414 section 3.3)."""
    answer, _ = yield from ask(plan, lambda _now: wire.metadata_request(plan.issuer), plan.tries)
    return wire.read_metadata(
        answer,
        plan.issuer,
        insecure_http=plan.network.insecure_http,
        mtls=plan.by_certificate,
        member="enrolment_endpoint",
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
