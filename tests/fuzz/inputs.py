"""What the parsers are given: good inputs, and what Hypothesis makes of them."""

from __future__ import annotations

import base64
import json
from ipaddress import ip_address
from typing import Any

import cbor2
from cryptography import x509
from hypothesis import strategies as st
from tests.fuzz.parsers import ISSUER, KEY, NOW, TARGET
from tests.support.assertions import compose
from tests.support.certificates import Held, authority, cn, issue
from tests.support.proofs import header_of

CLAIMS: dict[str, dict[str, Any]] = {
    "assertion": {"iss": "c", "sub": "c", "aud": ISSUER, "exp": NOW + 60, "iat": int(NOW), "jti": "j"},
    "software_statement": {"iss": "c", "client_name": "x", "software_id": "s", "iat": int(NOW), "exp": NOW + 60},
    "proof": {"jti": "j", "htm": "POST", "htu": TARGET.url, "iat": int(NOW)},
}
HEADERS: dict[str, dict[str, Any]] = {
    "assertion": {"alg": "ES256", "kid": KEY.kid},
    "software_statement": {"alg": "ES256", "kid": KEY.kid, "typ": "JWT"},
    "proof": header_of(KEY),
}
OBJECTS: dict[str, dict[str, Any]] = {
    "registration": {
        "client_name": "x", "client_name#de": "y", "client_uri": "https://a.example/", "logo_uri": "https://a.example/l",
        "contacts": ["a@b.example"], "scope": "a:read", "grant_types": ["client_credentials"], "response_types": [],
        "redirect_uris": [], "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": []}, "jwks_uri": None,
        "software_id": "s", "software_version": "1", "software_statement": "a.b.c", "dpop_bound_access_tokens": True,
        "tls_client_auth_subject_dn": "CN=c", "enabled": None,
    },
    "authorization_details": {"type": "pay", "most": 5, "to": "aaa", "sub": [{"type": "pay", "most": 1}]},
}  # fmt: skip
WORDS = [
    b".", b"=", b"-", b"_", b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b";", b"%", b"%00", b"%0A", b"%2B", b" ",
    b"\t", b"\x00", b"\xff", b"null", b"Cert=", b"Chain=", b"Hash=", b"-----BEGIN CERTIFICATE-----", b"1e999",
    b"client-cert: ", b"client-cert-chain: ", b"x-forwarded-client-cert: ", b"\n", b"AAAA", b"e30", b"bnVsbA",
]  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([NOW, int(NOW), NOW + 9, ISSUER, TARGET.url, "POST", "c"])
    | st.sampled_from(["ES256", "RS256", "PS256", "none", "dpop+jwt"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
members = st.sampled_from(
    ["alg", "kid", "typ", "jwk", "crit", "b64", "zip", "jku", "x5u", "x5c", "x5t", "iss", "sub", "aud", "exp", "iat",
     "nbf", "jti", "htm", "htu", "ath", "nonce", "kty", "crv", "x", "y", "d", "n", "e", "use", "key_ops", "cnf"]
)  # fmt: skip


def held() -> list[Held]:
    """A caller's certificate and its authority."""
    ca = authority("CA", NOW)
    return [issue(cn("c"), NOW, ca), ca]


_LEAF, _CA = held()
_NAMED = issue(
    cn("named"), NOW, _CA,
    names=[
        x509.DNSName("c.example"), x509.UniformResourceIdentifier("spiffe://a/b"), x509.RFC822Name("a@example.org"),
        x509.IPAddress(ip_address("2001:db8::1")), x509.DirectoryName(cn("inner")),
    ],
)  # fmt: skip
SEEDS: dict[str, list[bytes]] = {
    "client_cert": [
        f"client-cert: {_LEAF.rfc9440}".encode(),
        f"client-cert: {_LEAF.rfc9440}\nclient-cert-chain: {_CA.rfc9440}, {_CA.rfc9440}".encode(),
        f"client-cert: :{base64.b64encode(_LEAF.der[:80]).decode()}:".encode(),
    ],
    "forwarded_client_cert": [
        f"x-forwarded-client-cert: {_LEAF.envoy}".encode(),
        f'x-forwarded-client-cert: By=spiffe://a;Hash=ab;{_LEAF.envoy};Subject="CN=\\"c\\"";URI=;DNS=a'.encode(),
        f"x-forwarded-client-cert: {_LEAF.envoy};{_CA.envoy.replace('Cert', 'Chain')}".encode(),
    ],
}


@st.composite
def changed_json(draw: st.DrawFn, right: dict[str, Any], depth: int = 0) -> Any:
    """A right object with a few members changed, taken away, added, or changed inside."""
    if draw(st.integers(0, 30)) == 0:
        return draw(values)
    made = dict(right)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(made)) if made and draw(st.booleans()) else members)
        what = draw(st.integers(0, 3))
        if what == 0:
            made.pop(name, None)
        elif what == 1 and isinstance(made.get(name), dict) and depth < 2:
            made[name] = draw(changed_json(made[name], depth + 1))
        elif what == 2 and isinstance(made.get(name), int | float):
            made[name] += draw(st.sampled_from([-86_400, -601, -71, -11, -1, 0.5, 9, 10, 11, 61, 620, 10**18]))
        else:
            made[name] = draw(values)
    return made


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """A few bytes changed, words put in, pieces doubled or cut out."""
    made = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(made)))
        to = min(len(made), at + draw(st.integers(0, 40)))
        what = draw(st.integers(0, 3))
        if what == 0:
            made[at:at] = draw(st.sampled_from(WORDS))
        elif what == 1:
            del made[at:to]
        elif what == 2:
            made[at:at] = made[at:to] * draw(st.integers(1, 3))
        else:
            made[at:to] = draw(st.binary(max_size=8))
    return bytes(made)


@st.composite
def tokens(draw: st.DrawFn, name: str) -> bytes:
    """Signed by the right key, whatever it says; then perhaps damaged."""
    header = draw(changed_json(HEADERS[name]))
    payload = json.dumps(draw(changed_json(CLAIMS[name]))).encode()
    if draw(st.integers(0, 9)) == 0:
        payload = draw(mutated(payload))
    made = compose(header, payload, KEY.sign).encode()
    return draw(mutated(made)) if draw(st.integers(0, 3)) == 0 else made


@st.composite
def certificates(draw: st.DrawFn) -> bytes:
    """Damaged inside, and then packed as it should be: what reads a certificate's names meets them all."""
    der = draw(mutated(draw(st.sampled_from([_LEAF.der, _CA.der, _NAMED.der]))))
    return b"client-cert: :" + base64.b64encode(der) + b":"


@st.composite
def objects(draw: st.DrawFn, name: str) -> bytes:
    """JSON of the right shape, with members changed; then perhaps damaged."""
    made = draw(changed_json(OBJECTS[name]))
    if name == "authorization_details" and draw(st.integers(0, 9)):
        made = [made] * draw(st.integers(1, 3))
    text = json.dumps(made, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return draw(mutated(text)) if draw(st.integers(0, 3)) == 0 else text


cbor_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 300) | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
    | st.sampled_from([NOW, int(NOW), int(NOW) + 9, ISSUER, "urn:m", KEY.kid.encode()[:8], -7, -8, 61]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.integers(-9, 70) | st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
CBOR: dict[str, dict[Any, Any]] = {
    "header": {1: -7, 4: KEY.kid.encode()[:8], 16: 61},
    "cwt": {1: ISSUER, 2: "c", 3: "urn:m", 4: int(NOW) + 60, 7: b"jti", 9: "m:w"},
    "ace": {5: "urn:m", 9: b"m:w", 24: "c", 25: b"s", 33: 2, "client_assertion": "e30.e30.AAAA", "resource": "urn:m"},
}


@st.composite
def changed_cbor(draw: st.DrawFn, name: str) -> bytes:
    """A right map with members changed, taken away or added; then perhaps damaged."""
    made = dict(CBOR[name])
    for _ in range(draw(st.integers(0, 2))):
        key = draw(st.sampled_from(list(CBOR[name])) | st.integers(-9, 70) | st.sampled_from(["iss", "scope", "x"]))
        if draw(st.booleans()):
            made[key] = draw(cbor_values)
        else:
            made.pop(key, None)
    raw = cbor2.dumps(made, canonical=draw(st.integers(0, 9)) > 0)
    return draw(mutated(raw)) if draw(st.integers(0, 3)) == 0 else raw


@st.composite
def cwts(draw: st.DrawFn) -> bytes:
    """Signed by the right key, whatever it says; then perhaps damaged."""
    protected, payload = draw(changed_cbor("header")), draw(changed_cbor("cwt"))
    unprotected = {} if draw(st.integers(0, 5)) else {4: KEY.kid.encode()[:8]}
    signature = KEY.sign(cbor2.dumps(["Signature1", protected, b"", payload]))
    made = cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected, payload, signature]))
    return draw(mutated(made)) if draw(st.integers(0, 3)) == 0 else made


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """For a parser."""
    if name in ("cwt", "ace"):
        return (cwts() if name == "cwt" else changed_cbor(name)) | st.binary(max_size=200)
    if name == "client_cert":
        return certificates() | st.sampled_from(SEEDS[name]).flatmap(mutated) | st.binary(max_size=200)
    if name in OBJECTS:
        return objects(name) | st.binary(max_size=200)
    if name in SEEDS:
        return st.sampled_from(SEEDS[name]).flatmap(mutated) | st.binary(max_size=200)
    return tokens(name) | st.binary(max_size=200)
