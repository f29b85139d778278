"""Verify DPoP proofs at our own endpoints (RFC 9449)."""

from __future__ import annotations

from msgspec import Struct

from ...jose import ClaimRefused, JoseError
from ...jose.dpop import ProofTarget, check_age, check_times, read_proof
from ...jose.nonces import Nonces
from .errors import InvalidDpopProof, UseDpopNonce
from .proof_jwt import ReplayMark, Window, replay_mark


class PresentedProof(Struct, frozen=True):
    """The DPoP header of a request, and the method and URL that the proof has to match."""

    unverified: str
    target: ProofTarget

    def __repr__(self) -> str:
        return f"PresentedProof({self.target})"


class ProofRules(Struct, frozen=True):
    """What a proof is checked against; none of it comes from the caller."""

    nonces: Nonces
    window: Window = Window(life=60.0)
    nonce_required: bool = False


class Possession(Struct, frozen=True):
    """The key of a valid proof."""

    jkt: str
    """The key's thumbprint (RFC 7638)."""
    mark: ReplayMark
    """The replay mark, to be stored before the answer."""
    next_nonce: str = ""
    """A newer nonce for the caller, if there is one (section 8.2)."""


def prove_possession(presented: PresentedProof, place: str, rules: ProofRules, now: float) -> Possession:
    """Check a proof (section 4.3), except for reuse. `place` is the scope of the accepted nonces.

    With our nonce the proof's age is the nonce's, and the caller's clock does not matter (section 11.1).

    Raises:
        UseDpopNonce: a required nonce is missing, too old or not ours.
        InvalidDpopProof: for everything else; the text names the rule, because the proof is the caller's own.
    """
    try:
        proof = read_proof(presented.unverified, presented.target)
        check_times(proof, now, rules.window.leeway)
        current = rules.nonces.current(place, now)
        if proof.nonce is not None:
            ends = _nonce_ends(proof.nonce, place, rules, now, current)
        elif rules.nonce_required:
            raise UseDpopNonce(current)
        else:
            ends = check_age(proof, now, rules.window.leeway, rules.window.life)
        mark = replay_mark("dpop", proof.jkt, proof.claims, ends, rules.window)
    except JoseError as error:
        rule = error.claim if isinstance(error, ClaimRefused) else ""
        raise InvalidDpopProof(f"the DPoP proof is refused: {error.rule}", rule=rule) from None
    told = rules.nonce_required or proof.nonce is not None
    return Possession(proof.jkt, mark, current if told and proof.nonce != current else "")


def _nonce_ends(unverified_nonce: str, place: str, rules: ProofRules, now: float, current: str) -> float:
    try:
        return rules.nonces.check(place, unverified_nonce, now)
    except ClaimRefused:
        raise UseDpopNonce(current) from None


def proof_used_before() -> InvalidDpopProof:
    """The error for a reused proof (section 11.1)."""
    return InvalidDpopProof("the DPoP proof was used before: make a new one for each request", rule="jti")
