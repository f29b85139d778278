"""Verify client assertions of private_key_jwt and client_secret_jwt (RFC 7523 section 3, rfc7523bis for `aud`)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Set
from contextlib import suppress
from typing import Any

from ....jose import (
    POST_QUANTUM,
    Algorithm,
    BadSignature,
    ClaimRefused,
    JoseError,
    KeySet,
    PublicKey,
    Read,
    check_claims,
    mldsa,
    verify_with_one_of,
)
from ....jose.algorithms import RULES
from ....jose.compact import check_header, check_type
from ....jose.encoding import b64url
from ...registry.model import Application
from ..errors import InvalidClient
from ..proof_jwt import ReplayMark, check_life, replay_mark
from ..request import Credentials
from .grounds import Grounds

TYPES = frozenset({"JWT", "client-authentication+jwt"})
"""`at+jwt`, `dpop+jwt` and all other types were signed for another purpose."""

MAX_TRIES = 10


def prove(
    application: Application | None,
    presented: Credentials,
    grounds: Grounds,
    algorithms: Collection[Algorithm],
    members: Set[str],
) -> tuple[PublicKey, ReplayMark]:
    """The key that signed, and the replay mark to store. Raises `InvalidClient`, always with the same text."""
    if presented.assertion is None:
        raise InvalidClient(detail="no client assertion in the request")
    registered = application is not None and application.auth_method == presented.method
    keys = grounds.keys if registered else KeySet([])
    try:
        verified, key = verify_with_one_of(
            presented.assertion, keys, algorithms=algorithms, members=members, typ=TYPES, tries=MAX_TRIES
        )
    except JoseError as error:
        if not isinstance(error, BadSignature):
            spend(presented.assertion)
        raise InvalidClient(detail=f"client assertion: {error.rule}") from None
    if application is None:
        raise InvalidClient(detail="unknown application")
    try:
        return key, _judge(verified.claims, application.client_id, grounds)
    except ClaimRefused as error:
        raise InvalidClient(detail=f"client assertion: {error.rule}", rule=error.claim) from None


def check_unverified(
    presented: Credentials, client_id: str, grounds: Grounds, algorithms: Collection[Algorithm], members: Set[str]
) -> None:
    """Refuse what no key could save, before keys are fetched. Raises `InvalidClient`; proves nothing."""
    if presented.assertion is None:
        return
    unverified_header = presented.assertion.token.unverified_header
    try:
        check_header(unverified_header, algorithms, members)
        if "typ" in unverified_header:
            check_type(unverified_header, TYPES)
        _judge(presented.assertion.unverified_claims, client_id, grounds)
    except JoseError as error:
        rule = error.claim if isinstance(error, ClaimRefused) else ""
        raise InvalidClient(detail=f"client assertion: {error.rule}", rule=rule) from None


def _judge(claims: Mapping[str, Any], client_id: str, grounds: Grounds) -> ReplayMark:
    window = grounds.window
    check_claims(claims, issuer=client_id, audience=grounds.issuer, now=grounds.now, leeway=window.leeway)
    if claims.get("sub") != client_id:
        raise ClaimRefused("sub", "sub is not the application")
    if claims["aud"] != grounds.issuer and claims["aud"] != [grounds.issuer]:
        raise ClaimRefused("aud", "aud has to be the issuer alone (rfc7523bis section 4)")
    if grounds.profile.audience_is_text and not isinstance(claims["aud"], str):
        raise ClaimRefused("aud", f"aud has to be a text, not an array (profile {grounds.profile.name})")
    check_life(claims, grounds.now, window)
    return replay_mark("assertion", client_id, claims, claims["exp"], window)


def spend(unverified: Read) -> None:
    """Unknown takes the same time as wrong: one verification with a key that nobody has."""
    with suppress(JoseError):
        token = unverified.token
        decoy = _DECOYS.get(str(token.unverified_header.get("alg")))
        if decoy is not None:
            decoy.verify(token.signing_input, token.signature)


_RSA_N = (
    "3ir2tBlTOoW_q_2eHLpG951T0anKqwLfBNuOjnXSBWc1xElsUNf8cwIU_mNE5YHrJfhpizFkus-UG4t1bjCxRfKEOxOLnoKD2bRIScFhemFzbio9"
    "1W3jLckelyfTsFOK83BcYXweNDEo_n5uIe3_Ctm-3ynvIgDSsSv-zMUj8wbQOp_Yfx_PVfjPWV2-iCmlBCXtUJxX-qSVyzMSgWx8J4rJOJHejbZp"
    "avYYyzVc0IFa6pPNbuPZLwcuDPU-rd301YdHJ441iKbLbzc86dlD8UrD8bm6MB_K02X0r-LxZg5rhGFMmpVMIzTTB0CXmyE_EDj8_huGXwTF8uwD"
    "DQ-m3Q"
)
_EC_X, _EC_Y = "rqeezUDz9iofB7ht-Pqit0q7mNqfJdrcjW9dHU0bC-U", "Yh_gTtMG2B5SCaHDt1jC73BrG47MVrN6fz1b00DqYEc"


def _akp(algorithm: Algorithm) -> dict[str, str]:
    """Any bytes of its size are an ML-DSA public key; a hash has no known private key."""
    pub = hashlib.shake_256(b"decoy").digest(RULES[algorithm].size)
    return {"kty": "AKP", "alg": algorithm.value, "pub": b64url(pub).decode()}


_DECOYS = {
    jwk["alg"]: PublicKey.from_jwk(jwk)
    for jwk in (
        {"kty": "EC", "crv": "P-256", "alg": "ES256", "x": _EC_X, "y": _EC_Y},
        {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": "dRa7EHiNMdTTX3iMwySP1OvqTC3l4tU16zP8xpZOsAE"},
        {"kty": "RSA", "alg": "RS256", "n": _RSA_N, "e": "AQAB"},
        {"kty": "RSA", "alg": "PS256", "n": _RSA_N, "e": "AQAB"},
        *(_akp(algorithm) for algorithm in POST_QUANTUM if mldsa.OFFERED),
    )
}
"""Generated once; their private keys were not kept."""
