"""Verify DPoP proofs at an API (RFC 9449 section 7): each request is signed with the key the token is bound to."""

from __future__ import annotations

import hashlib
import hmac
import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from watchword.jose import Algorithm, ClaimRefused, JoseError
from watchword.jose.dpop import PROOF_ALGORITHMS, Proof, ProofTarget, check_age, check_times, normal_url, read_proof
from watchword.jose.nonces import Nonces
from watchword.resource.claims import Claims
from watchword.resource.errors import NonceNeeded, ProofInvalid, TokenInvalid, TooManyProofs
from watchword.resource.leeway import checked_leeway

REMEMBERED: Final = 1_000_000
"""Proofs, of some 130 bytes each."""
_BUCKET: Final = 30
"""Seconds of proofs that are forgotten together."""
_UNESCAPED: Final = "/:@!$&'()*+,;=~"


class ProofUsed(Exception):
    """This proof was used before."""


class ProofMemory(Protocol):
    """Remembers used proofs. If processes share it, a proof is accepted once by all of them together."""

    def use(self, mark: bytes, until: float, now: float) -> None:
        """Look up and store ``mark`` (32 bytes) in one atomic step; it may be forgotten after ``until``.

        Raises `ProofUsed` if it is stored already, and an `Unavailable` when the lookup fails.
        """
        ...


class ProofsInMemory:
    """The proofs that this process has seen; safe for threads. When it is full, new proofs are refused."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit, self._kept = limit, 0
        self._seen: dict[int, set[bytes]] = {}
        self._lock = threading.Lock()

    def use(self, mark: bytes, until: float, now: float) -> None:
        """See `ProofMemory`. The same proof always has the same ``until``, so that only one bucket is searched."""
        place = int(until // _BUCKET)
        with self._lock:
            for old in [one for one in self._seen if (one + 1) * _BUCKET <= now]:
                self._kept -= len(self._seen.pop(old))
            seen = self._seen.setdefault(place, set())
            if mark in seen:
                raise ProofUsed
            if self._kept >= self._limit:
                raise TooManyProofs(f"{self._kept} proofs were used within their life; no more can be remembered")
            seen.add(mark)
            self._kept += 1


@dataclass(frozen=True, slots=True)
class Dpop:
    """How an API takes DPoP proofs: ``Verifier(..., dpop=Dpop(...))``.

    Args:
        base_url: the public URL of this API, in front of all proxies, without the request's path; None is the origin
            of the audience. Never taken from ``Host``, which the caller controls.
        nonce_key: 32 bytes or more, the same for all processes of the API: every proof must then have a nonce that
            one of them issued (section 9). None demands no nonce; the age of a proof then goes by the caller's clock.
        algorithms: that proofs may be signed with.
        life, leeway: seconds for which a proof is accepted, and by which clocks may differ.
        memory: remembers used proofs; None remembers them in this process.
    """

    base_url: str | None = None
    nonce_key: bytes | None = None
    algorithms: Collection[Algorithm] = PROOF_ALGORITHMS
    life: float = 60.0
    leeway: float = 10.0
    memory: ProofMemory | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a leeway or a life that is no finite number of seconds."""
        checked_leeway(self.leeway)
        if not 0 < self.life < math.inf:
            raise ValueError(f"life is {self.life!r}: use a number of seconds")


@dataclass(frozen=True, slots=True)
class ShownProof:
    """Every value of the DPoP header, and the method and path of the request.

    ``path`` is as the caller sent it, percent-encoded, with or without its query.
    """

    unverified_values: Sequence[str]
    method: str
    path: str


class Possession:
    """Checks that the caller has the key that its token is bound to (proof of possession). One for each `Verifier`."""

    def __init__(self, settings: Dpop | None, audience: str, now: Callable[[], float]) -> None:
        given = settings or Dpop()
        self._base = _address(audience, "") if given.base_url is None else _address(given.base_url, None)
        if self._base is None and settings is not None:
            raise ValueError("say where callers reach this API, as an https address: Dpop(base_url=...)")
        self.algorithms = tuple(given.algorithms)
        self._settings, self._place, self._now = given, audience, now
        self._nonces = None if given.nonce_key is None else Nonces(given.nonce_key)
        self._memory = given.memory or ProofsInMemory()

    def check(self, claims: Claims, token: str, shown: ShownProof | None) -> None:
        """``shown`` is None when the token came as a bearer token.

        Raises:
            TokenInvalid: a bound token was sent as a bearer token, an unbound one as DPoP, or the key is another.
            ProofInvalid: the proof is missing or wrong, or was used before. `NonceNeeded`: it needs a newer nonce.
            Unavailable: the memory cannot say whether the proof was used before.
        """
        if shown is None:
            raise TokenInvalid("the token is bound to a DPoP key (cnf): it is refused as a bearer token")
        if not claims.dpop_key:
            raise TokenInvalid("the token was shown with scheme DPoP, and is bound to no DPoP key")
        now = self._now()
        proof = self._read(token, shown)
        until = self._until(proof, now)
        if not hmac.compare_digest(proof.jkt, claims.dpop_key):
            raise TokenInvalid("the DPoP proof is by another key than the one that the token is bound to (cnf)")
        mark = hashlib.sha256(f"{proof.jkt} {proof.jti}".encode("utf-8", "surrogatepass")).digest()
        try:
            self._memory.use(mark, until + self._settings.leeway, now)
        except ProofUsed:
            raise ProofInvalid("it was used before; make a new one for each request") from None

    def _read(self, token: str, shown: ShownProof) -> Proof:
        if len(shown.unverified_values) != 1:
            raise ProofInvalid(f"there are {len(shown.unverified_values)} DPoP headers; send one")
        if self._base is None:
            raise TokenInvalid("this API takes no DPoP proofs: it has no Dpop(base_url=...) to compare them with")
        target = ProofTarget(shown.method, self._base + shown.path, token)
        try:
            return read_proof(shown.unverified_values[0], target, self.algorithms)
        except JoseError as error:
            raise ProofInvalid(error.rule) from None

    def _until(self, proof: Proof, now: float) -> float:
        settings = self._settings
        try:
            check_times(proof, now, settings.leeway)
            if self._nonces is None:
                return check_age(proof, now, settings.leeway, settings.life)
        except ClaimRefused as error:
            raise ProofInvalid(error.rule) from None
        try:
            return self._nonces.check(self._place, proof.nonce or "", now)
        except ClaimRefused:
            raise NonceNeeded(self._nonces.current(self._place, now)) from None


def of_scope(scope: Mapping[str, Any]) -> ShownProof:
    """From an ASGI scope; a WebSocket begins with a GET."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"dpop"]
    raw = scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(scope["path"], safe=_UNESCAPED)
    return ShownProof(values, scope.get("method", "GET"), path)


def of_environ(environ: Mapping[str, Any]) -> ShownProof:
    """From a WSGI environment (PEP 3333), where several headers arrive joined with a comma, which is no valid proof."""
    decoded = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    path = quote(decoded.encode("latin-1", "replace"), safe=_UNESCAPED)
    return ShownProof(_values(environ), environ["REQUEST_METHOD"], path)


def of_django(meta: Mapping[str, Any], method: str, path: str) -> ShownProof:
    """From a Django request, whose decoded path is the same under WSGI and ASGI."""
    return ShownProof(_values(meta), method, quote(path, safe=_UNESCAPED))


def _values(environ: Mapping[str, Any]) -> list[str]:
    value = environ.get("HTTP_DPOP")
    return [] if value is None else [value]


def _address(url: str, path: str | None) -> str | None:
    """``url`` with another path, or its own if that is None; None if it is not a web address."""
    try:
        normal_url(url)
    except ValueError:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') if path is None else path}"
