"""Prove that the caller holds the key that its access token is bound to (RFC 9449 section 7), for this one request."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from ...protocol.dpop import PresentedProof, ProofRules, proof_used_before, prove_possession
from ...protocol.errors import InvalidToken
from ..group_commit import GroupCommit
from ..ports import Replayed
from ..view import TenantView


class ProvePossession:
    """One per worker; what it takes note of is in the database, so a proof counts once for all workers and nodes."""

    def __init__(self, commits: GroupCommit, rules: ProofRules, clock: Callable[[], float]) -> None:
        self._commits, self._rules, self._clock = commits, rules, clock

    async def __call__(
        self, tenant: TenantView, client_id: str, jkt: str, presented: PresentedProof, as_of: int
    ) -> bool:
        """True once the proof is used up, on disk; False when the caller must be judged again, and it is not.

        `as_of` is the view's place in the change feed before the token was judged.

        Raises:
            InvalidDpopProof, UseDpopNonce: the proof is wrong, or was used before.
            InvalidToken: it is by another key than the token's.
            StorageUnavailable: nobody can tell whether it was used before.
        """
        tenant_id = tenant.tenant.tenant_id
        held = prove_possession(presented, tenant_id, self._rules, self._clock())
        if not hmac.compare_digest(held.jkt.encode(), jkt.encode()):
            raise InvalidToken("the DPoP proof is by another key than the one that the token is bound to")
        try:
            return await self._commits.submit(tenant_id, client_id, None, None, as_of, (held.mark,))
        except Replayed:
            raise proof_used_before() from None
