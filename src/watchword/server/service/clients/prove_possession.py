"""Check the DPoP proof that comes with a bound access token (RFC 9449 section 7)."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from ...protocol.dpop import PresentedProof, ProofRules, proof_used_before, prove_possession
from ...protocol.errors import InvalidToken
from ..group_commit import GroupCommit
from ..ports import Replayed
from ..view import TenantView


class ProvePossession:
    """One object per worker; used proofs are in the database, so a proof works once for all workers and nodes."""

    def __init__(self, commits: GroupCommit, rules: ProofRules, clock: Callable[[], float]) -> None:
        self._commits, self._rules, self._clock = commits, rules, clock

    async def __call__(
        self, tenant: TenantView, client_id: str, jkt: str, presented: PresentedProof, as_of: int
    ) -> bool:
        """True once the proof is recorded as used, on disk; False when the token must be judged again.

        `as_of` is the view's place in the change feed before the token was checked.

        Raises:
            InvalidDpopProof, UseDpopNonce: the proof is wrong, or was used before.
            InvalidToken: the proof was made with another key than the token's.
            StorageUnavailable: it is unknown whether the proof was used before.
        """
        tenant_id = tenant.tenant.tenant_id
        held = prove_possession(presented, tenant_id, self._rules, self._clock())
        if not hmac.compare_digest(held.jkt.encode(), jkt.encode()):
            raise InvalidToken("the DPoP proof is by another key than the one that the token is bound to")
        try:
            return await self._commits.submit(tenant_id, client_id, None, None, as_of, (held.mark,))
        except Replayed:
            raise proof_used_before() from None
