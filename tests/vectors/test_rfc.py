"""The RFCs' own examples and the JOSE cookbook, RFC 7520 (JWT-055)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.vectors.corpus import ALL, Vector, keys_of, load, names, parameters, present, refusal

from watchword.jose import (
    Algorithm,
    JoseError,
    KeySet,
    MalformedToken,
    PrivateKey,
    PublicKey,
    UnacceptableHeader,
    UnacceptableKey,
    thumbprint,
)
from watchword.jose.compact import verify_bytes
from watchword.jose.encoding import unb64url

PUBLIC = frozenset({"kty", "crv", "x", "y", "n", "e", "kid", "use", "alg", "k"})


def examples(member: str) -> list[Any]:
    document = load("rfc_vectors.json")
    listed = document["vectors"] if document else []
    return parameters((vector["id"], vector) for vector in listed if member in vector)


def cookbook(pattern: str) -> list[Any]:
    listed = ((name.rpartition("/")[2].removesuffix(".json"), load(name)) for name in names(pattern))
    return parameters((name, document) for name, document in listed if document)


def published(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """What a set would show of a key: the examples print private members too."""
    return {name: value for name, value in jwk.items() if name in PUBLIC}


def with_alg(jwk: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
    """The examples' keys name no algorithm; here somebody must decide, and it is never the token."""
    return {**published(jwk), "alg": algorithm}


@pytest.mark.parametrize("vector", examples("jws"))
def test_jwt_055_rfc_7515(vector: Vector) -> None:
    """RFC 7515 appendix A and E: HS256, RS256, ES256, ES512, `none`, an unknown `crit`, and tampering."""
    present(vector)
    if "jwk" not in vector:
        with pytest.raises(MalformedToken):
            verify_bytes(vector["jws"], KeySet([]), algorithms=ALL, typ=None, kid_required=False)
        return
    header = json.loads(unb64url(vector["jws"].partition(".")[0].encode()))
    refused = refusal(vector["jws"], with_alg(vector["jwk"], header["alg"]))
    assert (refused is None) == (vector["result"] == "valid"), refused


def test_jwt_014_rfc_7515_appendix_e_with_a_signature() -> None:
    """The example is unsecured, so another rule stops it first: `crit` must be refused for itself."""
    key = PrivateKey.generate(Algorithm.ES256)
    header = base64.urlsafe_b64encode(
        b'{"alg":"ES256",\r\n "crit":["http://example.com/UNDEFINED"],\r\n "http://example.com/UNDEFINED":true}'
    ).rstrip(b"=")
    data = header + b".RkFJTA"
    token = data + b"." + base64.urlsafe_b64encode(key.sign(data)).rstrip(b"=")
    with pytest.raises(UnacceptableHeader):
        verify_bytes(token.decode(), KeySet([key.public]), algorithms=ALL, typ=None, kid_required=False)


@pytest.mark.parametrize("vector", examples("thumbprint_sha256"))
def test_jwt_055_rfc_7638(vector: Vector) -> None:
    """Key ids and `jkt` confirmations would differ from everybody else's."""
    present(vector)
    assert thumbprint(vector["jwk"]) == vector["thumbprint_sha256"]
    key = PublicKey.from_jwk(vector["jwk"])
    assert (key.thumbprint(), key.kid) == (vector["thumbprint_sha256"], vector["jwk"]["kid"])


@pytest.mark.parametrize("vector", examples("dpop"))
def test_jwt_055_rfc_9449(vector: Vector) -> None:
    """A DPoP proof brings its key along: right for a proof, fatal for a token, so the token gate refuses it."""
    present(vector)
    key = PublicKey.from_jwk(vector["header"]["jwk"])
    assert key.thumbprint() == vector["jkt"]
    data, _, signature = vector["dpop"].rpartition(".")
    key.verify(data.encode(), unb64url(signature.encode()))
    assert isinstance(refusal(vector["dpop"], vector["header"]["jwk"]), UnacceptableHeader)


@pytest.mark.parametrize("vector", cookbook("jose-cookbook/jws/*.json") + cookbook("jose-cookbook/curve25519/jws.json"))
def test_jwt_055_cookbook_jws(vector: Vector) -> None:
    """RFC 7520 section 4 and RFC 8037 appendix A: compact forms verify; detached and JSON forms stop at the gate."""
    present(vector)
    output, entered = vector["output"], vector["input"]
    for form in ("json", "json_flat"):
        if form in output:
            assert isinstance(refusal(json.dumps(output[form]), {"keys": []}), MalformedToken)
    if "compact" not in output:
        return
    jwk = with_alg(entered["key"], entered["alg"])
    if ".." in output["compact"]:
        assert isinstance(refusal(output["compact"], jwk), MalformedToken)
        return
    _, payload = verify_bytes(output["compact"], keys_of(jwk), algorithms=ALL, typ=None, kid_required=False)
    assert payload.decode() == entered["payload"]
    # The same key with any other algorithm of its family: refused, at the key or at the header.
    for other in ALL - {entered["alg"]}:
        assert refusal(output["compact"], with_alg(entered["key"], other.value)) is not None


@pytest.mark.parametrize("vector", cookbook("jose-cookbook/jws/*.json") + cookbook("jose-cookbook/curve25519/jws.json"))
def test_cookbook_signatures(vector: Vector) -> None:
    """The primitive under every example, also where the form around it is one that we refuse."""
    present(vector)
    signings, keys, algorithms = vector["signing"], vector["input"]["key"], vector["input"]["alg"]
    if isinstance(signings, dict):
        signings, keys, algorithms = [signings], [keys], [algorithms]
    for signing, jwk, algorithm in zip(signings, keys, algorithms, strict=True):
        key = PublicKey.from_jwk(with_alg(jwk, algorithm), allow_symmetric=True)
        key.verify(signing["sig-input"].encode(), unb64url(signing["sig"].encode()))


@pytest.mark.parametrize("vector", cookbook("jose-cookbook/rfc7797/*.json"))
def test_jwt_055_rfc_7797(vector: Vector) -> None:
    """`b64: false` changes what is signed; a verifier that ignores it can be shown another payload."""
    present(vector)
    jwk = published(vector["input"]["key"])
    forms = [json.dumps(vector["output"]["json"]), json.dumps(vector["output"]["json_flat"])]
    if "compact" in vector["output"]:
        forms.append(vector["output"]["compact"])
        header = vector["output"]["compact"].partition(".")[0]
        # Spaces in the payload stop the example; with a payload that could be base64url, the header does.
        assert isinstance(refusal(f"{header}.Zm9v.AAAA", jwk), UnacceptableHeader)
    for form in forms:
        assert isinstance(refusal(form, jwk), MalformedToken)


def test_cookbook_nested_signature() -> None:
    """RFC 7520 section 6: the token inside the encrypted one is a good PS256 JWT, and is read as one."""
    document = load("jose-cookbook/6.nesting_signatures_and_encryption.json")
    present(document or {"absent": True})
    signed = document["sign"]
    jwk = with_alg(signed["input"]["key"], signed["input"]["alg"])
    _, payload = verify_bytes(signed["output"]["compact"], keys_of(jwk), algorithms=ALL, typ=None, kid_required=False)
    assert json.loads(payload)["iss"] == "hobbiton.example"


@pytest.mark.parametrize("vector", cookbook("jose-cookbook/jwk/*.json"))
def test_jwt_055_cookbook_jwk(vector: Vector) -> None:
    """RFC 7520 section 3: keys are read, written back the same, and secrets or private keys never published."""
    present(vector)
    jwk = vector
    if jwk["kty"] == "oct":
        with pytest.raises(UnacceptableKey):
            PublicKey.from_jwk(jwk)
        assert len(KeySet.parse(json.dumps({"keys": [jwk]}).encode())) == 0
        return
    key = PublicKey.from_jwk(jwk)
    assert key.to_jwk() == {**published(jwk), "alg": key.algorithm.value}
    private = "d" in jwk
    assert len(KeySet.parse(json.dumps({"keys": [jwk]}).encode())) == (0 if private else 1)


def test_cookbook_encryption_key_is_not_a_secret_for_signatures() -> None:
    """Figure 6 of RFC 7520, an A256GCM key: used as an HMAC key, one secret would do two jobs."""
    jwk = load("jose-cookbook/jwk/3_6.symmetric_key_encryption.json")
    present(jwk or {"absent": True})
    with pytest.raises(JoseError):
        PublicKey.from_jwk(jwk, allow_symmetric=True)
