"""Wires the wing `tokens`: issue, read, introspect and revoke tokens, and limit their number."""

from __future__ import annotations

from msgspec import Struct

from ..service.tokens.appid_surface import appid_surface
from ..service.tokens.check_token import CheckToken
from ..service.tokens.follow_revocations import FollowRevocations
from ..service.tokens.forward_auth import ForwardAuth
from ..service.tokens.introspect_token import IntrospectToken
from ..service.tokens.issue_token import IssueToken
from ..service.tokens.oauth_surface import oauth_surface
from ..service.tokens.rate_limits import RateLimits
from ..service.tokens.read_token import TokenReader
from ..service.tokens.refusals import Refusals
from ..service.tokens.revoke_token import RevokeToken
from ..service.tokens.serve_status_list import ServeStatusList
from ..service.tokens.sign_introspection import SignIntrospection
from ..service.tokens.status_indexes import StatusIndexes
from ..service.tokens.surface import Surface
from .clients import Clients
from .foundation import STATUS_LISTS, Foundation


class Tokens(Struct, frozen=True, kw_only=True):
    """The verbs over tokens, the two surfaces that issue them, and what limits and counts requests for them."""

    issue: IssueToken
    native: Surface
    appid: Surface
    limits: RateLimits
    refusals: Refusals
    reader: TokenReader
    introspect: IntrospectToken
    sign: SignIntrospection
    check: CheckToken
    forward_auth: ForwardAuth
    revoke: RevokeToken
    follow: FollowRevocations
    status_list: ServeStatusList


def wire_tokens(base: Foundation, clients: Clients) -> Tokens:
    """The wing over this database."""
    view, storage, clock = base.view, base.storage, base.world.clock
    reader = TokenReader(view)
    limits = RateLimits(storage.debts, base.world.chance)
    return Tokens(
        issue=_issue(base, clients, reader, limits),
        native=_native(base),
        appid=appid_surface(base.appid_issuer_of),
        limits=limits,
        refusals=Refusals(clock, base.world.random_name, clients.guesses),
        reader=reader,
        introspect=IntrospectToken(view, reader, clock),
        sign=SignIntrospection(view, clock, base.issuer_of),
        check=CheckToken(view, reader, clock, base.appid_issuer_of),
        forward_auth=ForwardAuth(view, reader, clock),
        revoke=RevokeToken(storage.store, view, reader, clock),
        follow=FollowRevocations(view, storage.revocations, clock),
        status_list=_status_list(base),
    )


def _issue(base: Foundation, clients: Clients, reader: TokenReader, limits: RateLimits) -> IssueToken:
    return IssueToken(
        view=base.view,
        commits=base.commits,
        uses=clients.uses,
        prove=clients.prove,
        proofs=clients.proofs,
        tokens=reader,
        clock=base.world.clock,
        random_bytes=base.world.random_bytes,
        limits=limits,
    )


def _native(base: Foundation) -> Surface:
    indexes = StatusIndexes(base.master.derive(STATUS_LISTS), base.issuer_of, base.world.random_bytes)
    return oauth_surface(base.issuer_of, base.world.random_bytes, indexes)


def _status_list(base: Foundation) -> ServeStatusList:
    return ServeStatusList(
        view=base.view,
        reader=base.storage.status,
        clock=base.world.clock,
        issuer_of=base.issuer_of,
        key=base.master.derive(STATUS_LISTS),
        ttl=base.settings.status_list_ttl,
    )
