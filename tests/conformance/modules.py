"""The suite's fourteen modules for the client credentials grant, in its order and by its names."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
from tests.conformance import tls
from tests.conformance.suite import CLIENT_OR_REQUEST, Suite
from tests.support.assertions import compose
from tests.support.proofs import header_of, public_jwk

from watchword.jose import Algorithm, PrivateKey

ALLOWED = {"PS256", "ES256", "EdDSA", "Ed25519"}
_CLIENT = {"invalid_client": {400, 401}}


def discovery_end_point_verification(s: Suite) -> None:
    """Only what is allowed is on offer, and all that is needed."""
    told = s.metadata()
    assert told["issuer"] == s.subject.issuer
    parts = urlsplit(told["issuer"])
    assert (parts.scheme, parts.query, parts.fragment) == ("https", "", "")
    if s.constrain == "dpop":
        assert told["dpop_signing_alg_values_supported"]
        assert set(told["dpop_signing_alg_values_supported"]) <= ALLOWED
    else:
        assert told["tls_client_certificate_bound_access_tokens"] is True
    methods = set(told["token_endpoint_auth_methods_supported"])
    assert methods <= {"private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"}
    assert set(told["token_endpoint_auth_signing_alg_values_supported"]) <= ALLOWED
    assert told["token_endpoint"].startswith("https://")
    assert all(scope for scope in told.get("scopes_supported", ["a"]))
    wanted = {"private_key_jwt"} if s.auth == "private_key_jwt" else {"tls_client_auth", "self_signed_tls_client_auth"}
    assert methods & wanted
    assert "client_credentials" in told["grant_types_supported"]


def happy_flow(s: Suite) -> None:
    """Two clients; the resource's TLS; and the second one's token with the first one's key."""
    token = s.token()
    tls.check(s.subject.api)
    s.yes(s.call(token))
    with httpx.Client(verify=s.client.context) as http:
        assert http.get(s.subject.api, params={"access_token": token}).status_code in range(400, 500)
    for headers in (
        {"accept": "application/json; charset=utf-8", "x-fapi-customer-ip-address": "2001:db8::1893:def4"},
        {"accept": "application/json, application/*+json, */*"},
    ):
        s.yes(s.call(token, **headers))
    s.client = s.second
    theirs = s.credentials_flow()
    s.client = s.first
    answer = s.call(theirs)
    assert answer.status_code == 401
    assert 'error="invalid_' in answer.headers["www-authenticate"]


def access_token_type_header_case_sensitivity(s: Suite) -> None:
    """RFC 9110 section 11.1: the scheme's name has no case."""
    token = s.token()
    s.yes(s.call(token, scheme=("DPoP" if s.constrain == "dpop" else "Bearer").swapcase()))


def check_dpop_proof_nbf_exp(s: Suite) -> None:
    """Proofs may say more about their time than they have to."""
    now = int(time.time())
    token = s.token(nbf=now, exp=now + 300)
    s.yes(s.call(token, s.proof(s.subject.api, token, nbf=now, exp=now + 300)))


def _iat(s: Suite, seconds: int) -> None:
    token = s.token(iat=int(time.time()) + seconds)
    s.yes(s.call(token, s.proof(s.subject.api, token, iat=int(time.time()) + seconds)))


def ensure_dpopproof_with_iat_10seconds_before_succeeds(s: Suite) -> None:
    """A clock that is behind."""
    _iat(s, -10)


def ensure_dpopproof_with_iat_10seconds_after_succeeds(s: Suite) -> None:
    """A clock that is ahead."""
    _iat(s, 10)


def ensure_client_id_in_token_endpoint(s: Suite) -> None:
    """The second client's id with the first one's key or certificate."""
    form = {"client_id": s.second.client_id}
    if s.auth == "private_key_jwt":
        whose = {"iss": s.second.client_id, "sub": s.second.client_id}
        form |= s.assertion(s.first, **whose)
    s.no(s.ask(form), _CLIENT, {"invalid_grant": {400}})


def ensure_holder_of_key_required(s: Suite) -> None:
    """The token endpoint's TLS, and a right request without anything to bind the token to."""
    tls.check(s.token_url)
    answer = s.ask(bound=False, certificate=s.constrain == "dpop")
    assert answer.status_code in (400, 401)
    if s.constrain == "dpop":
        s.no(answer, {"invalid_request": {400}, "invalid_grant": {400}, "invalid_dpop_proof": {400}})
    elif s.auth == "private_key_jwt":
        s.no(answer, CLIENT_OR_REQUEST, {"invalid_grant": {400}})
    else:
        s.no(answer, CLIENT_OR_REQUEST)


def ensure_signed_client_assertion_with_rs256_fails(s: Suite) -> None:
    """The same RSA key, by the older algorithm."""
    key = s.client.key
    assert key.algorithm == Algorithm.PS256
    older = PrivateKey.from_pkcs8(key.to_pkcs8(), Algorithm.RS256, key.kid)
    right = s.assertion(s.client)
    head, payload, _ = right["client_assertion"].split(".")
    signed = _resigned(payload, {"alg": "RS256", "kid": key.kid}, older)
    assert head
    s.no(s.ask({**right, "client_assertion": signed}), _CLIENT)


def _resigned(payload: str, header: dict[str, Any], key: PrivateKey) -> str:
    return compose(header, base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), key.sign)


def ensure_client_assertion_in_token_endpoint(s: Suite) -> None:
    """A client id proves nothing."""
    s.no(s.ask({"client_id": s.client.client_id}), CLIENT_OR_REQUEST)


def ensure_client_assertion_with_exp_is_5_minutes_in_past_fails(s: Suite) -> None:
    """It has expired."""
    s.no(s.ask(s.authentication(exp=int(time.time()) - 300)), CLIENT_OR_REQUEST)


def ensure_client_assertion_with_wrong_aud_fails(s: Suite) -> None:
    """It is for another server."""
    s.no(s.ask(s.authentication(aud="https://www.other1.example.com/")), CLIENT_OR_REQUEST)


def ensure_client_assertion_with_no_sub_fails(s: Suite) -> None:
    """A signed request object would pass for an assertion."""
    s.no(s.ask(s.authentication(sub=None)), CLIENT_OR_REQUEST)


def dpop_negative_tests(s: Suite) -> None:
    """One token, and every proof that is not quite one, at the resource."""
    token = s.credentials_flow()
    for name, proofs, passes in negative_steps(s, token):
        answer = s.call(token, *proofs)
        assert (answer.status_code == 200) is passes, (name, answer.status_code, answer.headers)
        assert passes or answer.status_code in (400, 401), name
    upper = s.call(token, s.proof(s.subject.api, token), proof_header="DPOP")
    s.yes(upper)
    used = s.proof(s.subject.api, token)
    s.yes(s.call(token, used))
    assert s.call(token, used).status_code == 401
    query = "?page=2"
    s.yes(s.call(token, s.proof(s.subject.api, token), query=query))
    assert s.call(token, "").status_code == 401
    assert s.call(token, "", scheme="Bearer").status_code == 401
    s.yes(s.call(token))


def negative_steps(s: Suite, token: str) -> list[tuple[str, tuple[str, ...], bool]]:
    """Name, the DPoP headers, and whether the request passes; in the suite's order."""
    url, now, key = s.subject.api, int(time.time()), s.client.dpop
    parts = urlsplit(url)
    rs256 = PrivateKey.from_pkcs8(key.to_pkcs8(), Algorithm.RS256, key.kid)
    jwk = public_jwk(key)

    def proof(**changed: Any) -> str:
        return s.proof(url, token, **changed)

    def headed(**changed: Any) -> str:
        return proof(header=header_of(key, **changed))

    def damaged(made: str) -> str:
        head, payload, signature = made.split(".")
        return f"{head}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"

    return [
        ("two DPoP headers", (proof(), proof()), False),
        ("not a JWT", (proof().rpartition(".")[0],), False),
        ("typ missing", (headed(typ=None),), False),
        ("alg missing", (headed(alg=None),), False),
        ("jwk missing", (headed(jwk=None),), False),
        ("jti missing", (proof(jti=None),), False),
        ("htm missing", (proof(htm=None),), False),
        ("htu missing", (proof(htu=None),), False),
        ("iat missing", (proof(iat=None),), False),
        ("ath missing", (proof(ath=None),), False),
        ("typ wrong", (headed(typ="dpop+jws"),), False),
        ("RS256", (proof(header=header_of(key, alg="RS256"), sign=rs256.sign),), False),
        ("alg none", (proof(header=header_of(key, alg="none"), sign=lambda _: b""),), False),
        ("signature invalid", (damaged(proof()),), False),
        ("jwk carries private key", (headed(jwk={**jwk, "d": jwk["n"]}),), False),
        ("htm=PUT", (proof(htm="PUT"),), False),
        ("htu with extra query/fragment", (proof(htu=f"{url}?a=b#c"),), True),
        ("htu without the request's query/fragment", (proof(),), True),
        ("htu other URL", (proof(htu="https://www.other1.example.com/accounts"),), False),
        ("iat +1 h", (proof(iat=now + 3600),), False),
        ("iat -1 h", (proof(iat=now - 3600),), False),
        ("ath wrong", (proof(ath="bad-access-token-hash"),), False),
        ("signed by other key", (proof(key=PrivateKey.generate(Algorithm.PS256)),), False),
        ("other key, this jwk", (proof(sign=PrivateKey.generate(Algorithm.PS256).sign),), False),
        ("extra header and claims", (proof(header=header_of(key, tx_id=now), tx_id_key=now),), True),
        ("htu scheme/host upper-case", (proof(htu=url.replace(f"{parts.scheme}://{parts.netloc}", f"{parts.scheme}://{parts.netloc}".upper())),), True),
        ("htu with the default port", (proof(htu=f"https://127.0.0.1:443{parts.path}"),), parts.port == 443),
    ]  # fmt: skip


Module = tuple[Callable[[Suite], None], tuple[str, ...]]
_PREFIX = "fapi2-security-profile-final-"
_NO_MTLS_TOKENS, _NO_MTLS_CLIENTS = ("sender_constrain=mtls",), ("client_auth_type=mtls",)
MODULES: dict[str, Module] = {
    f"{_PREFIX}discovery-end-point-verification": (discovery_end_point_verification, ()),
    f"{_PREFIX}happy-flow": (happy_flow, ()),
    f"{_PREFIX}access-token-type-header-case-sensitivity": (access_token_type_header_case_sensitivity, ()),
    f"{_PREFIX}check-dpop-proof-nbf-exp": (check_dpop_proof_nbf_exp, _NO_MTLS_TOKENS),
    f"{_PREFIX}ensure-dpopproof-with-iat-10seconds-before-succeeds": (ensure_dpopproof_with_iat_10seconds_before_succeeds, _NO_MTLS_TOKENS),
    f"{_PREFIX}ensure-dpopproof-with-iat-10seconds-after-succeeds": (ensure_dpopproof_with_iat_10seconds_after_succeeds, _NO_MTLS_TOKENS),
    f"{_PREFIX}ensure-client-id-in-token-endpoint": (ensure_client_id_in_token_endpoint, ()),
    f"{_PREFIX}ensure-holder-of-key-required": (ensure_holder_of_key_required, ()),
    f"{_PREFIX}ensure-signed-client-assertion-with-RS256-fails": (ensure_signed_client_assertion_with_rs256_fails, _NO_MTLS_CLIENTS),
    f"{_PREFIX}ensure-client-assertion-in-token-endpoint": (ensure_client_assertion_in_token_endpoint, _NO_MTLS_CLIENTS),
    f"{_PREFIX}ensure-client-assertion-with-exp-is-5-minutes-in-past-fails": (ensure_client_assertion_with_exp_is_5_minutes_in_past_fails, _NO_MTLS_CLIENTS),
    f"{_PREFIX}ensure-client-assertion-with-wrong-aud-fails": (ensure_client_assertion_with_wrong_aud_fails, _NO_MTLS_CLIENTS),
    f"{_PREFIX}ensure-client-assertion-with-no-sub-fails": (ensure_client_assertion_with_no_sub_fails, _NO_MTLS_CLIENTS),
    f"{_PREFIX}dpop-negative-tests": (dpop_negative_tests, _NO_MTLS_TOKENS),
}  # fmt: skip
