"""Sign and verify DPoP proofs (RFC 9449 section 4), without the memory of used proofs.

Only here a key in a token's own header is used. It shows that the sender has that key, and nothing about whose key it
is.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from .algorithms import FULLY_SPECIFIED, Algorithm
from .compact import Signer, check_header, check_type, decode_unverified, numeric_date
from .encoding import b64url, json_object, unb64url
from .errors import ClaimRefused, UnacceptableHeader, UnacceptableKey
from .jwk import PRIVATE_MEMBERS
from .keys import PrivateKey, PublicKey

PROOF_ALGORITHMS: Final = (Algorithm.ES256, Algorithm.PS256, Algorithm.EdDSA)
"""What FAPI 2.0 (section 5.4.1) lets sign; the order in which metadata lists them."""
MAX_PROOF: Final = 8_192
"""Characters: a proof by the largest RSA key that is accepted has about 2,500."""
REMEMBERED: Final = 1_024
_TYPE: Final = "dpop+jwt"
_HEADER: Final = frozenset({"typ", "alg", "jwk"})
_MEANINGFUL: Final = frozenset(
    {
        "jku",
        "kid",
        "x5u",
        "x5c",
        "x5t",
        "x5t#S256",
        "cty",
        "crit",
        "b64",
        "enc",
        "zip",
        "epk",
        "apu",
        "apv",
        "iv",
        "tag",
    }
) | {"p2s", "p2c", "url", "nonce", "iss", "sub", "aud"}
"""Registered for something that a proof does not have. Others are ignored (RFC 7515 section 4)."""
_PUBLIC: Final = frozenset({"kty", "crv", "x", "y", "n", "e"})
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", re.ASCII)
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORTS = {"https": 443, "http": 80}


class ProofTarget(Struct, frozen=True):
    """The request that a proof must be for; `token` is its access token, None at a token endpoint."""

    method: str
    url: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"ProofTarget({self.method} {self.url})"


class Proof(Struct, frozen=True):
    """A proof that the holder of the key `jkt` (RFC 7638) signed for the request; its age and reuse are not checked."""

    jkt: str
    claims: dict[str, Any]

    @property
    def jti(self) -> str:
        """The unique id of the proof."""
        return str(self.claims["jti"])

    @property
    def nonce(self) -> str | None:
        """The nonce, as the client sent it; unverified."""
        nonce = self.claims.get("nonce")
        return None if nonce is None else str(nonce)

    def __repr__(self) -> str:
        return f"Proof({self.jkt})"


def read_proof(
    unverified_proof: str, target: ProofTarget, algorithms: Collection[Algorithm] = PROOF_ALGORITHMS
) -> Proof:
    """The checks of section 4.3 but for time and reuse (`check_times`, `check_age`). Raises a `JoseError`."""
    token = decode_unverified(unverified_proof, MAX_PROOF)
    head = unverified_proof.partition(".")[0]
    key, jkt = _embedded(head, tuple(algorithms))
    key.verify(token.signing_input, token.signature)
    claims = json_object(token.unverified_payload)
    _check_request(claims, target)
    for name in ("jti", "nonce"):
        if not isinstance(claims.get(name, ""), str) or (name == "jti" and not claims.get(name)):
            raise ClaimRefused(name, f"{name} is missing or not a text")
    if type(claims.get("iat")) is not int:
        raise ClaimRefused("iat", "iat is missing or not a whole number of seconds")
    numeric_date(claims, "iat", required=True)
    return Proof(jkt, claims)


def check_times(proof: Proof, now: float, leeway: float) -> None:
    """`exp` and `nbf`, which a proof need not have, are honoured. Raises `ClaimRefused`."""
    expires = numeric_date(proof.claims, "exp", required=False)
    if expires is not None and now >= expires + leeway:
        raise ClaimRefused("exp", "the proof has expired")
    begins = numeric_date(proof.claims, "nbf", required=False)
    if begins is not None and begins > now + leeway:
        raise ClaimRefused("nbf", "the proof is not valid yet")


def check_age(proof: Proof, now: float, leeway: float, life: float) -> float:
    """The second at which its life ends; a clock may take it a leeway longer (section 11.1). Raises `ClaimRefused`."""
    made: int = proof.claims["iat"]
    if made > now + leeway:
        raise ClaimRefused("iat", f"iat is {made - now:.0f} s ahead of this server's clock")
    if made + life + leeway < now:
        raise ClaimRefused("iat", f"iat is {now - made:.0f} s ago by this server's clock; a proof is for one request")
    return made + life


def token_hash(access_token: str) -> str:
    """`ath` (section 4.2)."""
    return b64url(hashlib.sha256(access_token.encode("utf-8", "surrogateescape")).digest()).decode()


class ProofSigner:
    """Makes proofs by one key; `jkt` is its thumbprint."""

    def __init__(self, key: PrivateKey) -> None:
        if key.algorithm not in PROOF_ALGORITHMS:
            raise UnacceptableKey(f"a DPoP key is for one of {', '.join(PROOF_ALGORITHMS)}")
        jwk = {name: value for name, value in key.public.to_jwk().items() if name in _PUBLIC}
        self.jkt = key.public.thumbprint()
        self._signer = Signer(key, typ=_TYPE, header={"jwk": jwk}, named=False)

    def __repr__(self) -> str:
        return f"ProofSigner({self.jkt})"

    def sign(self, target: ProofTarget, *, now: float, jti: str, nonce: str | None = None) -> str:
        """A proof for one request. `jti` is 96 random bits or more. Raises ValueError for a malformed URL."""
        claims: dict[str, Any] = {
            "jti": jti, "htm": target.method, "htu": target.url.partition("#")[0].partition("?")[0], "iat": int(now),
        }  # fmt: skip
        normal_url(claims["htu"])
        if target.token is not None:
            claims["ath"] = token_hash(target.token)
        if nonce is not None:
            claims["nonce"] = nonce
        return self._signer.sign(json.dumps(claims).encode())


def normal_url(url: str) -> str:
    """Without query and fragment, normalised as RFC 3986 sections 6.2.2 and 6.2.3 say. Raises ValueError."""
    if not _URL.fullmatch(url) or "%" in _ESCAPE.sub("", url):
        raise ValueError("not a URL")
    parts = urlsplit(url)
    scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    if scheme not in _PORTS or not host or "@" in parts.netloc:
        raise ValueError("not an http or https URL, or one with userinfo")
    host = f"[{host}]" if ":" in host else host
    authority = host if port in (None, _PORTS[scheme]) else f"{host}:{port}"
    return f"{scheme}://{authority}{_without_dots(_ESCAPE.sub(_plain, parts.path))}"


def _plain(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4, for a path that begins with a slash or is empty."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _check_request(claims: dict[str, Any], target: ProofTarget) -> None:
    if claims.get("htm") != target.method:
        raise ClaimRefused("htm", f"htm is not {target.method}")
    try:
        same = isinstance(claims.get("htu"), str) and normal_url(claims["htu"]) == normal_url(target.url)
    except ValueError:
        same = False
    if not same:
        raise ClaimRefused("htu", f"htu is not {target.url}")
    if target.token is not None:
        unverified_hash = claims.get("ath")
        wanted = token_hash(target.token).encode()
        if not isinstance(unverified_hash, str) or not hmac.compare_digest(unverified_hash.encode(), wanted):
            raise ClaimRefused("ath", "ath is not the hash of the access token")


@lru_cache(REMEMBERED)
def _embedded(unverified_head: str, algorithms: tuple[Algorithm, ...]) -> tuple[PublicKey, str]:
    """The key in a header and its thumbprint; cached, because a client always sends the same text."""
    header = json_object(unb64url(unverified_head.encode()))
    algorithm, _ = check_header(header, algorithms, _HEADER | (header.keys() - _MEANINGFUL))
    check_type(header, (_TYPE,))
    jwk = header.get("jwk")
    if not isinstance(jwk, dict) or PRIVATE_MEMBERS & jwk.keys():
        raise UnacceptableHeader("jwk is not a public key")
    named = jwk.setdefault("alg", algorithm.value)
    if named != algorithm.value and not (isinstance(named, str) and FULLY_SPECIFIED.get(named) == algorithm):
        raise UnacceptableHeader("the algorithm is not the key's (one key, one algorithm)")
    key = PublicKey.from_jwk(jwk)
    return key, key.thumbprint()
