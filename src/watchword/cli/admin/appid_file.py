"""What `watchword import appid` reads: one JSON object, by path, of the answers to App ID's GET calls.

    {"/applications": {"applications": [...]}, "/applications/{clientId}/scopes": {"scopes": [...]}, ...}

Reading is pure: the same file gives the same list of what moves and what cannot.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from watchword.server.registry.appid import check_claims, check_offered
from watchword.server.registry.errors import Invalid
from watchword.server.registry.model import ClaimMapping

_OF_APPLICATION = re.compile(r"/applications/([^/]+)/(scopes|roles)")

_CLAIM_MEMBERS = (("source", "source"), ("source_claim", "sourceClaim"), ("destination_claim", "destinationClaim"))


class FileError(Exception):
    """The file is not what the command reads; the text says where."""


class Application(Struct, frozen=True, rename="camel"):
    """An application of App ID. Its secret may have been taken out."""

    client_id: str
    name: str
    secret: str = ""
    type: str = "regularwebapp"


class Access(Struct, frozen=True):
    """What a role gives at one application."""

    application_id: str
    scopes: list[str]


class Role(Struct, frozen=True):
    """A role of App ID; here it gets another id."""

    id: str
    name: str
    access: list[Access] = []
    description: str | None = ""


class _RoleId(Struct, frozen=True):
    id: str


class _Applications(Struct, frozen=True):
    applications: list[Application]


class _Roles(Struct, frozen=True):
    roles: list[Role]


class _Scopes(Struct, frozen=True):
    scopes: list[str]


class _Holds(Struct, frozen=True):
    roles: list[_RoleId]


class _Lifetime(Struct, frozen=True):
    expires_in: int = 3_600


class _Switch(Struct, frozen=True):
    enabled: bool = False


class _Claim(Struct, frozen=True, rename="camel"):
    source: str
    source_claim: str = ""
    destination_claim: str = ""


class _Tokens(Struct, frozen=True, rename="camel"):
    access: _Lifetime = _Lifetime()
    refresh: _Switch = _Switch()
    anonymous_access: _Switch = _Switch()
    access_token_claims: list[_Claim] = []
    id_token_claims: list[Any] = []


class Moves(Struct):
    """What the file brings along, and in sentences what it cannot."""

    applications: list[Application] = []
    scopes: dict[str, list[str]] = {}
    roles: list[Role] = []
    held: dict[str, list[str]] = {}
    """Role names by client id."""
    tokens: dict[str, Any] | None = None
    left: list[str] = []


def read(document: dict[str, Any]) -> Moves:
    """Raises `FileError` for a shape that App ID does not write."""
    answers = {path.rstrip("/"): answer for path, answer in document.items()}
    if "/applications" not in answers:
        raise FileError('the answer of GET /applications is missing: {"/applications": {"applications": [...]}, ...}')
    moves = Moves()
    _applications(moves, _convert("/applications", answers.pop("/applications"), _Applications).applications)
    known = {application.client_id for application in moves.applications}
    by_id = {role.id: role for role in _convert("/roles", answers.pop("/roles", {"roles": []}), _Roles).roles}
    for path, answer in answers.items():
        match = _OF_APPLICATION.fullmatch(path)
        if path == "/config/tokens":
            moves.tokens = _tokens(moves, _convert(path, answer, _Tokens))
        elif match is None:
            moves.left.append(f"GET {path}: what belongs to users and their log-in is not carried")
        elif match[1] not in known:
            moves.left.append(f"GET {path}: this application is not among those that move")
        elif match[2] == "scopes":
            _offer(moves, match[1], _convert(path, answer, _Scopes).scopes)
        else:
            _hold(moves, match[1], [held.id for held in _convert(path, answer, _Holds).roles], by_id)
    for role in by_id.values():
        moves.roles.append(_role(moves, role))
    return moves


def _convert(path: str, answer: Any, shape: Any) -> Any:
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError as error:
        raise FileError(f"{path}: {error}") from None


def _applications(moves: Moves, listed: list[Application]) -> None:
    for application in listed:
        if application.type == "singlepageapp":
            moves.left.append(f"application {application.name!r}: a single-page application keeps no secret")
            continue
        moves.applications.append(application)


def _offer(moves: Moves, client_id: str, scopes: list[str]) -> None:
    try:
        check_offered(client_id, scopes)
    except Invalid as error:
        moves.left.append(f"scopes of {client_id}: {error.public}")
    else:
        moves.scopes[client_id] = scopes


def _hold(moves: Moves, client_id: str, role_ids: list[str], by_id: dict[str, Role]) -> None:
    moves.held[client_id] = [by_id[role_id].name for role_id in role_ids if role_id in by_id]
    moves.left += [
        f"role {role_id} of {client_id}: GET /roles does not list it" for role_id in role_ids if role_id not in by_id
    ]


def _role(moves: Moves, role: Role) -> Role:
    """Without what its applications do not offer."""
    access = []
    for entry in role.access:
        offered = moves.scopes.get(entry.application_id, [])
        missing = [name for name in entry.scopes if name not in offered]
        if missing:
            listed = " ".join(missing)
            moves.left.append(f"role {role.name!r}: {entry.application_id} offers no {listed} in this file")
        kept = [name for name in entry.scopes if name in offered]
        if kept:
            access.append(Access(entry.application_id, kept))
    return msgspec.structs.replace(role, access=access, description=role.description or "")


def _tokens(moves: Moves, given: _Tokens) -> dict[str, Any]:
    if given.refresh.enabled:
        moves.left.append("refresh tokens: applications ask for a new access token instead")
    if given.anonymous_access.enabled:
        moves.left.append("anonymous access: there are no anonymous users")
    if given.id_token_claims:
        moves.left.append("claims of id tokens: there are no id tokens")
    accepted: list[ClaimMapping] = []
    for claim in given.access_token_claims:
        mapping = ClaimMapping(
            source=claim.source, source_claim=claim.source_claim, destination_claim=claim.destination_claim
        )
        try:
            check_claims((*accepted, mapping))
        except Invalid as error:
            moves.left.append(f"claim {mapping.claim!r}: {error.public}")
        else:
            accepted.append(mapping)
    claims = [{to: value for name, to in _CLAIM_MEMBERS if (value := getattr(m, name))} for m in accepted]
    return {"access": {"expires_in": given.access.expires_in}, "accessTokenClaims": claims}
