"""Issue an access token: authenticate, judge, sign, record, answer. docs/ARCHITECTURE.md has the whole path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from ....jose import PrivateKey, Signer
from ....jose.cose_signing import CwtSigner
from ....jose.cwt import cwt_text
from ...audit.events import TokenIssued
from ...protocol import access as rules
from ...protocol.access import Access, Transaction
from ...protocol.binding import bind
from ...protocol.claims import access_token_claims, encode, token_id, transaction_token_claims
from ...protocol.dpop import Possession, ProofRules, proof_used_before, prove_possession
from ...protocol.errors import InvalidDpopProof, OAuthError, Unavailable, UnsupportedGrantType
from ...protocol.grants import grant_for
from ...protocol.grants.token_exchange import ACCESS_TOKEN, TXN_TOKEN, check_form
from ...protocol.grants.transaction_token import TYPE as TRANSACTION_TYPE
from ...protocol.profile import hold_to, window_in
from ...protocol.request import Exchange, TokenRequest
from ...registry.enrolment import REPEAT_WITHIN
from ...registry.secret_text import OPAQUE_PREFIX, generate, opaque_hash
from ..clients.authenticate_client import used_before
from ..clients.prove_client import Client, ProveClient
from ..clients.secret_use import SecretUse
from ..group_commit import GroupCommit
from ..ports import OpaqueRow, Replayed, StorageUnavailable
from ..view import TenantView, View
from .rate_limits import RateLimits
from .read_token import TokenReader
from .status_indexes import StatusIndexes

_ATTEMPTS = 5
_NOTHING: frozenset[str] = frozenset()
NO_ACCESS_TOKEN = "N_A"
"""`token_type` of what opens nothing (RFC 8693 section 2.2.1)."""


class Issued(Struct, frozen=True):
    """RFC 6749 section 5.1."""

    access_token: str
    expires_in: int
    scope: str
    token_type: str = "Bearer"
    next_nonce: str = ""
    """See `Possession`."""
    issued_token_type: str = ""
    """Of an exchange (RFC 8693 section 2.2.1)."""
    details: tuple[dict[str, Any], ...] = ()

    def __repr__(self) -> str:
        return "Issued(...)"


class Minted(Struct, frozen=True):
    """A token that nobody has yet, and what is recorded of it."""

    token: str
    token_id: str
    audience: tuple[str, ...]
    scope: str
    expires_at: int
    row: OpaqueRow | None = None
    txn: str = ""
    """Of a transaction token."""

    def __repr__(self) -> str:
        return "Minted(...)"


class Judged(Struct, frozen=True):
    """What came of a request before anything is given: to whom, what, and for which key alone."""

    client: Client
    access: Access
    key: Possession | None

    def depends_on(self) -> frozenset[str]:
        """What else must not have changed when the token is recorded."""
        return self.access.exchanged.depends_on if self.access.exchanged is not None else _NOTHING

    def bound_to(self) -> str:
        """The thumbprint in the confirmation, for the audit log."""
        return next(iter(self.access.confirmation.values())) if self.access.confirmation is not None else ""


Mint = Callable[[TenantView, Access, float, str], Minted]
"""Makes the token of one surface: (tenant, access, now, token id)."""


class IssueToken:
    """The verb. One object per worker; `mint` and `grant` differ per surface."""

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
        client = await self._prove(tenant, request.unverified_credentials, now)
        standing = client.standing
        if first and standing.limits:
            self._limits.spend(tenant.tenant.tenant_id, standing.limits, now)
        grant = grant_for(request.grant_type)
        rules.check_grant_allowed(standing.application, request.grant_type)
        if surface.grant is not None and (request.exchange is not None or request.details):
            raise UnsupportedGrantType("the App ID surface knows neither exchange nor authorization_details")
        if request.exchange is not None:
            request = replace(request, exchange=await self._looked_at(tenant, request.exchange, now))
        access = surface.grant(standing, request) if surface.grant is not None else grant(standing, request)
        key = None
        if request.proof is not None:
            key = prove_possession(request.proof, tenant.tenant.tenant_id, self._proof_rules(tenant), now)
        elif standing.application.require_dpop:
            raise InvalidDpopProof("this application's tokens are bound by DPoP: send a proof with the request")
        if tenant.profile.name:
            shown = key is not None or request.unverified_credentials.certificate is not None
            access = hold_to(tenant.profile, access, shows_key=shown)
        if (access.bound or key is not None) and access.transaction is None:
            access = bind(access, key, request.unverified_credentials.certificate)
        minted = surface.mint(tenant, access, now, token_id(now, self._random(10).hex()))
        return await self._record(tenant, request, Judged(client, access, key), minted, surface, now)

    async def _looked_at(self, tenant: TenantView, exchange: Exchange, now: float) -> Exchange:
        """With the claims of its tokens, if they are active. What changes until the commit undoes it (0006)."""
        check_form(exchange, tenant.tenant.transaction_tokens)
        await self._view.must_be_fresh()
        read = self._tokens.transaction if exchange.subject_token_type == TXN_TOKEN else self._tokens.claims
        subject = await read(tenant, exchange.unverified_subject_token, now)
        if not exchange.unverified_actor_token:
            return replace(exchange, subject=subject)
        actor = await self._tokens.claims(tenant, exchange.unverified_actor_token, now)
        return replace(exchange, subject=subject, actor=actor)

    def _proof_rules(self, tenant: TenantView) -> ProofRules:
        if not tenant.profile.name:
            return self._proofs
        return replace(self._proofs, window=window_in(tenant.profile, self._proofs.window))

    async def _record(
        self,
        tenant: TenantView,
        request: TokenRequest,
        judged: Judged,
        minted: Minted,
        surface: Surface,
        now: float,
    ) -> Issued | None:
        tenant_id, proven, key = tenant.tenant.tenant_id, judged.client.proven, judged.key
        client_id = request.unverified_credentials.unverified_client_id
        event = TokenIssued(
            at=now,
            actor=client_id,
            request_id=request.request_id,
            token_id=minted.token_id,
            audience=minted.audience,
            scope=minted.scope,
            expires_at=minted.expires_at,
            secret_id=proven.secret_id,
            key_id=proven.key_id,
            identity_id=proven.identity_id,
            foreign_subject=proven.foreign_subject,
            bound_to=judged.bound_to(),
            surface=surface.name,
            subject=judged.access.subject if judged.access.exchanged is not None else "",
            subject_token=judged.access.exchanged.subject_tokens[-1] if judged.access.exchanged is not None else "",
            txn=minted.txn,
        )
        marks = proven.marks if key is None else (*proven.marks, key.mark)
        application = judged.client.standing.application
        try:
            if application.created_at > now - REPEAT_WITHIN and application.may_be_repeated(proven.secret_id, now):
                await self._uses.first(tenant_id, proven.secret_id, now)
            durable = await self._commits.submit(
                tenant_id, client_id, event, minted.row, judged.client.as_of, marks, judged.depends_on()
            )
        except Replayed as used:
            raise _reused(used, tenant_id, key) from None
        if not durable:
            return None
        if proven.secret_id:
            self._uses.note(tenant_id, proven.secret_id, now)
        issued = Issued(minted.token, minted.expires_at - int(now), minted.scope)
        if key is not None:
            issued = replace(issued, token_type="DPoP", next_nonce=key.next_nonce)
        if judged.access.exchanged is not None or judged.access.details:
            kind = _issued_type(request)
            issued = replace(issued, issued_token_type=kind, details=judged.access.details)
        return replace(issued, token_type=NO_ACCESS_TOKEN) if minted.txn else issued


def _issued_type(request: TokenRequest) -> str:
    return "" if request.exchange is None else request.exchange.requested_token_type or ACCESS_TOKEN


def _reused(used: Replayed, tenant_id: str, key: Possession | None) -> OAuthError:
    """Who authenticated with a used assertion is told that, whatever else was used."""
    return proof_used_before() if key is not None and used.keys == {(tenant_id, key.mark.key)} else used_before()


class Surface(Struct, frozen=True):
    """What differs between the native issuer and the App ID surface."""

    name: str
    mint: Mint
    grant: Callable[..., Access] | None = None
    """Replaces the grant table's function where a surface has an audience rule of its own."""


def rfc9068_mint(
    issuer_of: Callable[[str], str], random_bytes: Callable[[int], bytes], statuses: StatusIndexes
) -> Mint:
    """The native form: a JWT as RFC 9068 has it, a CWT or an opaque token, as the API wants; or a transaction token."""

    def mint(tenant: TenantView, access: Access, now: float, jti: str) -> Minted:
        if access.transaction is not None:
            return _transaction_token(tenant, access, access.transaction, issuer_of(tenant.tenant.slug), int(now), jti)
        settings = access.settings
        status = statuses.next(tenant, settings.algorithm, now) if settings.status_list else None
        claims = access_token_claims(access, issuer_of(tenant.tenant.slug), int(now), jti, status)
        if settings.format == "cwt":
            raw = cwt_signer(tenant, settings.algorithm).sign(to_builtins(claims))
            return Minted(cwt_text(raw), jti, access.audience, claims.scope, claims.exp)
        payload = encode(claims)
        if settings.format == "jwt":
            token, row = (
                signer(tenant, settings.algorithm, settings.type).sign(payload),
                None,
            )
        else:
            token = generate(random_bytes(32), OPAQUE_PREFIX)
            row = OpaqueRow(tenant.tenant.tenant_id, opaque_hash(token), claims.exp, payload)
        return Minted(token, jti, access.audience, claims.scope, claims.exp, row)

    return mint


def _transaction_token(
    tenant: TenantView, access: Access, transaction: Transaction, issuer: str, now: int, jti: str
) -> Minted:
    claims = transaction_token_claims(access, transaction, issuer, now, jti)
    token = signer(tenant, access.settings.algorithm, TRANSACTION_TYPE).sign(encode(claims))
    return Minted(token, jti, access.audience, claims.scope, claims.exp, txn=claims.txn)


def signer(tenant: TenantView, algorithm: str, typ: str, **header: object) -> Signer:
    """The prepared signer of an algorithm and type, made once per view of the tenant."""
    name = f"signer {algorithm} {typ} {header}" if header else f"signer {algorithm} {typ}"
    found = tenant.derived.get(name)
    if found is None:
        found = tenant.derived[name] = Signer(_active_key(tenant, algorithm), typ=typ, header=header)
    assert isinstance(found, Signer)
    return found


def cwt_signer(tenant: TenantView, algorithm: str) -> CwtSigner:
    """The same for CWTs."""
    name = f"signer {algorithm} cwt"
    found = tenant.derived.get(name)
    if found is None:
        found = tenant.derived[name] = CwtSigner(_active_key(tenant, algorithm))
    assert isinstance(found, CwtSigner)
    return found


def _active_key(tenant: TenantView, algorithm: str) -> PrivateKey:
    key = tenant.signing.get(algorithm)
    if key is None:
        raise Unavailable(
            "no signing key is active",
            detail=f"tenant {tenant.tenant.slug} has no {algorithm} key",
        )
    return key
