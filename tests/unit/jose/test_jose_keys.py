"""Keys: what is read, what is refused, what is never shown."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from watchword.jose import (
    ACCESS_TOKEN_ALGORITHMS,
    POST_QUANTUM,
    Algorithm,
    BadSignature,
    KeySet,
    MalformedToken,
    PrivateKey,
    PublicKey,
    Signer,
    UnacceptableHeader,
    UnacceptableKey,
    symmetric,
    verify_signature,
)
from watchword.jose.encoding import raw_from_der

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SIGNING = sorted({each.value for each in Algorithm} - {"HS256", "HS384", "HS512"})
MADE = {name: PrivateKey.generate(Algorithm(name)) for name in SIGNING}
ES256, RS256 = MADE["ES256"], MADE["RS256"]


def uint(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def changed(key: PrivateKey, **members: Any) -> dict[str, Any]:
    return {name: value for name, value in {**key.public.to_jwk(), **members}.items() if value is not ...}


@pytest.mark.parametrize("name", SIGNING)
def test_every_algorithm_round_trips(name: str) -> None:
    """A key that is sealed, kept and published must still be the same key."""
    key = MADE[name]
    assert key.kid == key.public.kid == key.public.thumbprint()
    again = PrivateKey.from_pkcs8(key.to_pkcs8(), key.algorithm, "own")
    assert (again.kid, again.public.thumbprint()) == ("own", key.kid)
    read = PublicKey.from_jwk(key.public.to_jwk())
    assert read.to_jwk() == key.public.to_jwk() and read.to_pem() == key.public.to_pem()
    read.verify(b"data", again.sign(b"data"))
    with pytest.raises(BadSignature):
        read.verify(b"other", again.sign(b"data"))
    token = Signer(key, typ="JWT", header={"ver": "2.0"}).sign(b'{"a":1}')
    verified = verify_signature(token, KeySet([read]), algorithms=frozenset({key.algorithm}), typ={"jwt"})
    assert verified.header == {"alg": name, "kid": key.kid, "typ": "JWT", "ver": "2.0"}
    assert verified.claims == {"a": 1}


@pytest.mark.parametrize("name", ["alg", "kid"])
def test_signer_header_cannot_name_another_key(name: str) -> None:
    """The header would promise another key or algorithm than the one that signed."""
    with pytest.raises(UnacceptableHeader):
        Signer(ES256, header={name: "x"})


@given(st.integers(1, P256_ORDER - 1) | st.integers(1, 2**16), st.integers(1, P256_ORDER - 1) | st.integers(1, 2**16))
def test_der_slices_like_the_library_p256(r: int, s: int) -> None:
    """Short integers are padded and long ones have a sign byte: one slip is one bad token in 128."""
    raw = raw_from_der(encode_dss_signature(r, s), 32)
    assert raw == r.to_bytes(32, "big") + s.to_bytes(32, "big")


@pytest.mark.parametrize("size", [32, 48, 66])
@given(data=st.data())
def test_der_slices_like_the_library(size: int, data: st.DataObject) -> None:
    """P-521 needs two bytes for the length, sometimes: the branch that is hardly ever taken."""
    r, s = (data.draw(st.integers(1, 2 ** data.draw(st.integers(1, min(8 * size, 521))) - 1)) for _ in "rs")
    der = encode_dss_signature(r, s)
    assert decode_dss_signature(der) == (r, s)
    assert raw_from_der(der, size) == r.to_bytes(size, "big") + s.to_bytes(size, "big")


@pytest.mark.parametrize("name", ["ES256", "ES384", "ES512"])
def test_signatures_have_one_length(name: str) -> None:
    """A signature of another length is refused by us and by others; in 300 some r or s is short."""
    key, size = MADE[name], {"ES256": 64, "ES384": 96, "ES512": 132}[name]
    for number in range(300):
        signature = key.sign(number.to_bytes(2, "big"))
        assert len(signature) == size
        key.public.verify(number.to_bytes(2, "big"), signature)


def test_jwt_007_es256_lengths_and_der() -> None:
    """The same r and s in another coat would be a second spelling of one token."""
    signature = ES256.sign(b"data")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    coats = [
        encode_dss_signature(r, s),
        signature + b"\0",
        b"\0" + signature,
        signature[:-1],
        signature[:32] + b"\0" + signature[32:],
        b"\0" + signature[:32] + b"\0" + signature[32:],
        b"",
        bytes(64),
    ]
    for coat in coats:
        with pytest.raises(BadSignature):
            ES256.public.verify(b"data", coat)


def test_repr_shows_no_secret() -> None:
    """A key in a traceback, a log or a debugger's list would be the key of every token."""
    for key in MADE.values():
        shown = repr(key) + str(key) + f"{key}" + repr(key.public) + repr(Signer(key)) + repr(KeySet([key.public]))
        der = key.to_pkcs8()
        assert der.hex() not in shown and repr(der) not in shown and "object at" not in repr(key)
        assert key.kid in repr(key)
    secret = symmetric(b"canary-canary-canary-canary-canary", Algorithm.HS256, "s")
    assert "canary" not in repr(secret) + repr(KeySet([secret]))
    with pytest.raises(UnacceptableKey):
        secret.to_jwk()
    with pytest.raises(UnacceptableKey):
        secret.to_pem()


def test_a_private_key_is_not_copied_by_accident() -> None:
    """pickle writes what `repr` hides."""
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copier(ES256)


def test_published_members_are_public() -> None:
    """One `d` in the JWK set, and everybody signs."""
    for key in MADE.values():
        assert key.public.to_jwk().keys() <= {"kty", "crv", "x", "y", "n", "e", "pub", "kid", "alg", "use"}
        assert "PRIVATE" not in key.public.to_pem()


BAD_DER = [
    b"",
    b"\x30",
    b"not der",
    x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ),
    ES256._key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    ),
]


@pytest.mark.parametrize("der", BAD_DER, ids=["empty", "cut", "text", "x25519", "encrypted"])
def test_not_a_private_key(der: bytes) -> None:
    """A damaged row would end in a library's exception, which may quote what it read."""
    with pytest.raises(UnacceptableKey) as caught:
        PrivateKey.from_pkcs8(der, Algorithm.ES256)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("name", SIGNING)
def test_jwt_006_no_key_serves_another_family(name: str) -> None:
    """Curve and family mix-ups are how one key's signature becomes another algorithm's."""
    families = [{"ES256"}, {"ES384"}, {"ES512"}, {"EdDSA"}, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}]
    families += [{each.value} for each in POST_QUANTUM]
    own = next(family for family in families if name in family)
    der = MADE[name].to_pkcs8()
    for other in Algorithm:
        if other.value in own:
            continue
        with pytest.raises(UnacceptableKey):
            PrivateKey.from_pkcs8(der, other)
        with pytest.raises(UnacceptableKey):
            PublicKey.from_jwk(changed(MADE[name], alg=other.value))


REFUSED: dict[str, dict[str, Any]] = {
    "use enc": changed(ES256, use="enc"),
    "use of another type": changed(ES256, use=["sig"]),
    "key_ops for encryption": changed(ES256, key_ops=["encrypt", "wrapKey"]),
    "key_ops empty": changed(ES256, key_ops=[]),
    "key_ops a text": changed(ES256, key_ops="verify"),
    "key_ops of another type": changed(ES256, key_ops=[["verify"], {"verify": 1}, 1]),
    "kty missing": changed(ES256, kty=...),
    "kty of another type": changed(ES256, kty=["EC"]),
    "kty unknown": changed(ES256, kty="ec"),
    "crv missing": changed(ES256, crv=..., alg=...),
    "crv of another type": changed(ES256, crv=["P-256"], alg=...),
    "crv secp256k1": changed(ES256, crv="secp256k1", alg=...),
    "crv not the algorithm's": changed(ES256, crv="P-384"),
    "alg unknown": changed(ES256, alg="ES256K"),
    "alg none": changed(ES256, alg="none"),
    "alg of another type": changed(ES256, alg=["ES256"]),
    "alg of encryption": changed(RS256, alg="RSA-OAEP"),
    "kid a number": changed(ES256, kid=1),
    "kid empty": changed(ES256, kid=""),
    "x missing": changed(ES256, x=...),
    "x a number": changed(ES256, x=1),
    "x null": changed(ES256, x=None),
    "x padded": changed(ES256, x=ES256.public.to_jwk()["x"] + "="),
    "x half a surrogate pair": changed(ES256, x="\ud800"),
    "x too short": changed(ES256, x="AAAA"),
    "x with a leading zero": changed(ES256, x="AAAA" + ES256.public.to_jwk()["x"]),
    "not on the curve": changed(ES256, y=ES256.public.to_jwk()["x"]),
    "point zero": changed(ES256, x="A" * 43, y="A" * 43),
    "Ed25519 too short": changed(MADE["EdDSA"], x="AAAA"),
    "X25519": changed(MADE["EdDSA"], crv="X25519"),
    "Ed448": changed(MADE["EdDSA"], crv="Ed448", alg=...),
    "n missing": changed(RS256, n=...),
    "e missing": changed(RS256, e=...),
    "e zero": changed(RS256, e="AA"),
    "e one": changed(RS256, e="AQ"),
    "e two": changed(RS256, e="Ag"),
    "e even": changed(RS256, e=uint(65538)),
    "e huge": changed(RS256, e=uint(2**2000 + 1)),
    "n 1024 bits": changed(RS256, n=uint(rsa.generate_private_key(65537, 1024).public_key().public_numbers().n)),
    "n 2047 bits": changed(RS256, n=uint(2**2047 - 1)),
    "n 4097 bits": changed(RS256, n=uint(2**4096 + 1)),
    "AKP without alg": changed(MADE["ML-DSA-44"], alg=...),
    "AKP of another size": changed(MADE["ML-DSA-44"], alg="ML-DSA-65"),
    "AKP without pub": changed(MADE["ML-DSA-44"], pub=...),
    "AKP pub too short": changed(MADE["ML-DSA-44"], pub="AAAA"),
    "AKP pub of another type": changed(MADE["ML-DSA-44"], pub=1),
    "AKP of HashML-DSA": changed(MADE["ML-DSA-44"], alg="HashML-DSA-44"),
    "AKP by its name in code": changed(MADE["ML-DSA-44"], alg="ML_DSA_44"),
    "OKP with pub": changed(MADE["ML-DSA-44"], kty="OKP"),
    "oct": {"kty": "oct", "alg": "HS256", "k": "A" * 43},
    "oct without alg": {"kty": "oct", "k": "A" * 43},
    "empty": {},
}  # fmt: skip


@pytest.mark.parametrize("jwk", REFUSED.values(), ids=REFUSED.keys())
def test_jwt_049_key_refused(jwk: dict[str, Any]) -> None:
    """A key that is weak, for something else or of another shape would verify tokens, or crash the reader."""
    with pytest.raises(UnacceptableKey):
        PublicKey.from_jwk(jwk)
    good = PrivateKey.generate(Algorithm.ES256).public
    raw = json.dumps({"keys": [jwk, good.to_jwk()]}).encode()
    if "surrogate" in next(name for name, value in REFUSED.items() if value is jwk):
        with pytest.raises(MalformedToken):
            KeySet.parse(raw)
    else:
        assert list(KeySet.parse(raw)) == [good.kid]


def test_what_is_read() -> None:
    """The refusals above would prove nothing if all keys were refused; and `alg` may be left out."""
    for name in ("ES256", "ES384", "ES512", "EdDSA"):
        assert PublicKey.from_jwk(changed(MADE[name], alg=..., use=..., kid=...)).algorithm == name
    assert PublicKey.from_jwk(changed(RS256, alg=...)).algorithm == "RS256"
    assert PublicKey.from_jwk(changed(ES256, use=..., key_ops=["verify"])).kid == ES256.kid
    assert PublicKey.from_jwk(changed(ES256, kid=...)).kid == ES256.public.thumbprint()
    secret = PublicKey.from_jwk({"kty": "oct", "alg": "HS256", "k": "A" * 43}, allow_symmetric=True)
    assert secret.algorithm == "HS256"


def test_a_key_without_alg_never_verifies_ps256() -> None:
    """RSA without `alg` is RS256 and nothing else: one algorithm per key also where the set is silent."""
    signer = PrivateKey.from_pkcs8(RS256.to_pkcs8(), Algorithm.PS256, "k")
    keys = KeySet([PublicKey.from_jwk(changed(RS256, alg=..., kid="k"))])
    with pytest.raises(UnacceptableHeader):
        verify_signature(Signer(signer).sign(b"{}"), keys, algorithms=ACCESS_TOKEN_ALGORITHMS, typ=None)


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_ordinary_rsa_keys_have_no_roca_fingerprint(bits: int) -> None:
    """A fingerprint that fits good keys would lock good clients out."""
    number = rsa.generate_private_key(65537, bits).public_key().public_numbers().n
    assert PublicKey.from_jwk({"kty": "RSA", "alg": "RS256", "n": uint(number), "e": "AQAB"})


def test_symmetric_keys_are_long_enough() -> None:
    """A password as an HMAC key is found by guessing, offline."""
    with pytest.raises(UnacceptableKey):
        symmetric(b"k" * 31, Algorithm.HS256)
    with pytest.raises(UnacceptableKey):
        symmetric(b"k" * 32, Algorithm.HS384)
    with pytest.raises(UnacceptableKey):
        symmetric(b"k" * 64, Algorithm.ES256)
    with pytest.raises(UnacceptableKey):
        PrivateKey.generate(Algorithm.HS256)


def one_set(*jwks: object) -> bytes:
    return json.dumps({"keys": jwks}).encode()


def test_jwt_048_remote_set_drops_what_it_may_not_use() -> None:
    """An oct key next to an RSA key turns the published set into shared secrets."""
    kept = changed(ES256, kid="kept")
    raw = one_set(
        kept,
        {"kty": "oct", "alg": "HS256", "k": "A" * 43, "kid": "s"},
        changed(RS256, kid="enc", use="enc"),
        changed(RS256, kid="new", alg="ML-DSA-65"),
        {**changed(ES256, kid="leaked"), "d": "A" * 43},
        "text",
        None,
        [],
    )
    assert list(KeySet.parse(raw)) == ["kept"]
    assert KeySet.parse(raw).to_jwks() == {"keys": [kept]}


WHOLE_SET_REFUSED: dict[str, bytes] = {
    "duplicate kid": one_set(changed(ES256, kid="k"), changed(RS256, kid="k")),
    "duplicate kid, one unusable": one_set(changed(ES256, kid="k"), changed(RS256, kid="k", use="enc")),
    "duplicate kid, one oct": one_set(changed(ES256, kid="k"), {"kty": "oct", "k": "A" * 43, "kid": "k"}),
    "one key twice without kid": one_set(changed(ES256, kid=...), changed(ES256, kid=...)),
    "duplicate member": b'{"keys":[],"keys":[]}',
    "keys missing": b"{}",
    "keys an object": b'{"keys":{}}',
    "a list": b"[]",
    "HTML": b"<html>",
    "too many": one_set(*[{}] * 101),
    "too large": b'{"keys":[]}' + b" " * 256 * 1024,
    "depth bomb": b'{"keys":' + b"[" * 200_000,
}


@pytest.mark.parametrize("raw", WHOLE_SET_REFUSED.values(), ids=WHOLE_SET_REFUSED.keys())
def test_jwt_047_whole_set_refused(raw: bytes) -> None:
    """Which of two keys of one name is meant cannot be told; a page of HTML must not empty the cache."""
    with pytest.raises((UnacceptableKey, MalformedToken)):
        KeySet.parse(raw)


def test_a_large_set_is_read() -> None:
    """The cap must not refuse a set that is merely full."""
    raw = one_set(changed(ES256))
    assert len(KeySet.parse(raw + b" " * (256 * 1024 - len(raw)))) == 1


def test_key_set_is_a_mapping_and_does_not_change() -> None:
    """Workers share a set while it is in use."""
    keys = KeySet([ES256.public, RS256.public])
    assert keys.get(ES256.kid) is ES256.public and keys.get("x") is None and len(keys) == 2
    assert not hasattr(keys, "__setitem__") and not hasattr(keys, "clear")
    with pytest.raises(UnacceptableKey):
        KeySet([ES256.public, PublicKey.from_jwk(changed(RS256, kid=ES256.kid))])


def test_signatures_fit_the_library_without_us() -> None:
    """If both our halves were wrong in the same way, every test here would pass."""
    signature = ES256.sign(b"data")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public = serialization.load_pem_public_key(ES256.public.to_pem().encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(encode_dss_signature(r, s), b"data", ec.ECDSA(hashes.SHA256()))


def test_the_key_of_rfc_9964() -> None:
    """Our thumbprints, and so our key ids, would be nobody else's (RFC 9964: the key of an all-zero seed)."""
    key = PrivateKey(mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32)), Algorithm.ML_DSA_44)
    jwk = key.public.to_jwk()
    assert key.kid == "T4xl70S7MT6Zeq6r9V9fPJGVn76wfnXJ21-gyo0Gu6o"
    assert (jwk["kty"], jwk["alg"]) == ("AKP", "ML-DSA-44")
    assert jwk["pub"].startswith("unH59k4RuutY-pxvu24U5h8YZD2rSVtHU5qRZsoBmBMcRPgmu9VuNOVd")
    assert len(key.sign(b"x")) == 2420


def test_a_published_seed_is_no_key() -> None:
    """Whoever publishes `priv` has given the key away (RFC 9964 section 3): everybody can sign with it."""
    leaked = {**MADE["ML-DSA-44"].public.to_jwk(), "priv": "A" * 43}
    assert list(KeySet.parse(json.dumps({"keys": [leaked, ES256.public.to_jwk()]}).encode())) == [ES256.kid]


def test_post_quantum_counts_only_where_it_is_listed() -> None:
    """An API would take tokens of an algorithm that nobody there has ever looked at."""
    assert not POST_QUANTUM & ACCESS_TOKEN_ALGORITHMS
    key = MADE["ML-DSA-65"]
    keys, token = KeySet([key.public, ES256.public]), Signer(key).sign(b"{}")
    with pytest.raises(UnacceptableHeader):
        verify_signature(token, keys, algorithms=ACCESS_TOKEN_ALGORITHMS, typ=None)
    with pytest.raises(UnacceptableHeader):
        verify_signature(token, keys, algorithms={Algorithm.ML_DSA_44, Algorithm.ML_DSA_87}, typ=None)
    assert verify_signature(token, keys, algorithms={Algorithm.ML_DSA_65}, typ=None).claims == {}
