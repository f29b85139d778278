"""DPoP at our own endpoints (RFC 9449): the key that a caller holds, and the mark of the proof that showed it."""

from __future__ import annotations

from msgspec import Struct

from ...jose import ClaimRefused, JoseError
from ...jose.dpop import ProofTarget, check_age, check_times, read_proof
from ...jose.nonces import Nonces
from .errors import InvalidDpopProof, UseDpopNonce
from .proof_jwt import ReplayMark, Window, replay_mark


class PresentedProof(Struct, frozen=True):
    """What stood in the one DPoP header, and the request that it has to be of."""

    unverified: str
    target: ProofTarget

    def __repr__(self) -> str:
        return f"PresentedProof({self.target})"


class ProofRules(Struct, frozen=True):
    """What a proof is judged by; none of it comes from the caller."""

    nonces: Nonces
    window: Window = Window(life=60.0)
    nonce_required: bool = False


class Possession(Struct, frozen=True):
    """A key that the caller holds."""

    jkt: str
    """RFC 7638."""
    mark: ReplayMark
    """Has to be consumed before anything is given for the proof."""
    next_nonce: str = ""
    """To tell the caller, when there is a newer one than it used (section 8.2)."""


def prove_possession(presented: PresentedProof, place: str, rules: ProofRules, now: float) -> Possession:
    """Judge a proof (section 4.3), but for its reuse. `place` is whose nonces count.

    With a nonce of ours its age is the nonce's, and the caller's clock does not matter (section 11.1).

    Raises:
        UseDpopNonce: without a nonce where one is needed, and for one that is old or not of ours.
        InvalidDpopProof: for everything else; the words name the rule, for the proof is the caller's own.
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
    """Section 11.1."""
    return InvalidDpopProof("the DPoP proof was used before: make a new one for each request", rule="jti")
