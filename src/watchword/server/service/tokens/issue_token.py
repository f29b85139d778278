"""Issue an access token: authenticate, judge, sign, record, answer. docs/ARCHITECTURE.md has the whole path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from ...audit.events import TokenIssued
from ...protocol.access import Access, check_grant_allowed
from ...protocol.claims import token_id
from ...protocol.dpop import Possession, ProofRules, proof_used_before
from ...protocol.errors import OAuthError, Unavailable
from ...protocol.grants import grant_for
from ...protocol.grants.grant import Seen, ShownToken
from ...protocol.request import TokenRequest
from ...registry.fleet.enrolment import REPEAT_WITHIN
from ..clients.authenticate_client import used_before
from ..clients.prove_client import Client, ProveClient
from ..clients.secret_use import SecretUse
from ..group_commit import GroupCommit
from ..ports import Replayed, StorageUnavailable
from ..view import TenantView, View
from .bind_to_key import bind_to_key
from .rate_limits import RateLimits
from .read_token import TokenReader
from .surface import Minted, Surface

_ATTEMPTS = 5
NO_ACCESS_TOKEN = "N_A"
"""`token_type` of a token that is no access token (RFC 8693 section 2.2.1)."""


class Issued(Struct, frozen=True):
    """RFC 6749 section 5.1."""

    access_token: str
    expires_in: int
    scope: str
    token_type: str = "Bearer"
    next_nonce: str = ""
    """See `Possession`."""
    issued_token_type: str = ""
    """See `Access`."""
    details: tuple[dict[str, Any], ...] = ()

    def __repr__(self) -> str:
        return "Issued(...)"


class Judged(Struct, frozen=True):
    """The decision on a request: the application, what it gets, and the key that the token is bound to."""

    client: Client
    access: Access
    key: Possession | None


class IssueToken:
    """The verb. One object per worker, for all surfaces."""

    def __init__(
        self,
        view: View,
        commits: GroupCommit,
        uses: SecretUse,
        prove: ProveClient,
        proofs: ProofRules,
        tokens: TokenReader,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        limits: RateLimits,
    ) -> None:
        self._view, self._commits, self._uses, self._prove, self._proofs = view, commits, uses, prove, proofs
        self._tokens, self._clock, self._random, self._limits = tokens, clock, random_bytes, limits

    async def __call__(self, slug: str, request: TokenRequest, surface: Surface) -> Issued:
        """The token, recorded durably. Raises `OAuthError`; `Unavailable` when the database is away."""
        try:
            for attempt in range(_ATTEMPTS):
                issued = await self._attempt(slug, request, surface, attempt == 0)
                if issued is not None:
                    return issued
        except StorageUnavailable as error:
            raise Unavailable("the database is away; try again", detail=str(error)) from None
        raise Unavailable("the registry is changing too fast; try again")

    async def _attempt(self, slug: str, request: TokenRequest, surface: Surface, first: bool) -> Issued | None:
        now = self._clock()
        tenant = await self._view.tenant(slug)
        if tenant is None:
            raise Unavailable("the tenant was deleted meanwhile")
        client = await self._prove(tenant, request.unverified_credentials, now, request.source)
        standing = client.standing
        if first and standing.limits:
            self._limits.spend(tenant.tenant.tenant_id, standing.limits, now)
        grant = grant_for(surface.grants, request.grant_type)
        check_grant_allowed(standing.application, request.grant_type)
        seen = await self._look_at(tenant, grant.shown(standing, request), now) if grant.shown is not None else ()
        access = grant.judge(standing, request, seen)
        access, key = bind_to_key(self._proofs, tenant, standing.application, request, access, now)
        minted = surface.mint(tenant, access, now, token_id(now, self._random(10).hex()))
        judged = Judged(client, access, key)
        event = _event(request, judged, minted, surface.name, now)
        recorded = await self._record(tenant.tenant.tenant_id, judged, minted, event)
        return _answer(judged, minted, int(now)) if recorded else None

    async def _look_at(self, tenant: TenantView, shown: tuple[ShownToken, ...], now: float) -> Seen:
        """The claims of the tokens in a request. A change to one of them before the commit is noticed there (0006)."""
        await self._view.must_be_fresh()
        return tuple([await self._tokens.shown(tenant, token, now) for token in shown])

    async def _record(self, tenant_id: str, judged: Judged, minted: Minted, event: TokenIssued) -> bool:
        """True once the token is committed; False if what it depends on changed: the request is to be judged again."""
        proven, key, now = judged.client.proven, judged.key, event.at
        application = judged.client.standing.application
        marks = proven.marks if key is None else (*proven.marks, key.mark)
        try:
            if application.created_at > now - REPEAT_WITHIN and application.may_be_repeated(proven.secret_id, now):
                await self._uses.first(tenant_id, proven.secret_id, now)
            durable = await self._commits.submit(
                tenant_id, event.actor, event, minted.row, judged.client.as_of, marks, judged.access.depends_on
            )
        except Replayed as used:
            raise _reused(used, tenant_id, key) from None
        if durable and proven.secret_id:
            self._uses.note(tenant_id, proven.secret_id, now)
        return durable


def _event(request: TokenRequest, judged: Judged, minted: Minted, surface: str, now: float) -> TokenIssued:
    proven, access = judged.client.proven, judged.access
    confirmation, exchanged = access.confirmation, access.exchanged
    return TokenIssued(
        at=now,
        actor=request.unverified_credentials.unverified_client_id,
        request_id=request.request_id,
        token_id=minted.token_id,
        audience=minted.audience,
        scope=minted.scope,
        expires_at=minted.expires_at,
        secret_id=proven.secret_id,
        key_id=proven.key_id,
        identity_id=proven.identity_id,
        foreign_subject=proven.foreign_subject,
        bound_to=next(iter(confirmation.values())) if confirmation is not None else "",
        surface=surface,
        subject="" if exchanged is None else access.subject,
        subject_token="" if exchanged is None else exchanged.subject_tokens[-1],
        txn=minted.txn,
    )


def _answer(judged: Judged, minted: Minted, now: int) -> Issued:
    access, key = judged.access, judged.key
    return Issued(
        minted.token,
        minted.expires_at - now,
        minted.scope,
        NO_ACCESS_TOKEN if access.kind is not None else "Bearer" if key is None else "DPoP",
        "" if key is None else key.next_nonce,
        access.issued_type,
        access.details,
    )


def _reused(used: Replayed, tenant_id: str, key: Possession | None) -> OAuthError:
    """A caller that authenticated with a used assertion is told that, even if its DPoP proof was used as well."""
    return proof_used_before() if key is not None and used.keys == {(tenant_id, key.mark.key)} else used_before()
