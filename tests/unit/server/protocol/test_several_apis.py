"""A token for several APIs: each of them reads all of its scopes, so it has only those that are granted at each."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from watchword.server.protocol.access import Access
from watchword.server.protocol.appid import GRANTS as APPID_GRANTS
from watchword.server.protocol.authorization_details import granted_details
from watchword.server.protocol.errors import (
    InvalidAuthorizationDetails,
    InvalidScope,
    InvalidTarget,
    OAuthError,
)
from watchword.server.protocol.grants import GRANTS
from watchword.server.protocol.grants.subject_token import ACCESS_TOKEN, Exchange
from watchword.server.protocol.request import Credentials, TokenRequest
from watchword.server.protocol.standing import Standing, granted_scopes
from watchword.server.registry.model import (
    ADMIN_API,
    CLIENT_CREDENTIALS,
    TOKEN_EXCHANGE,
    Api,
    Application,
    DetailsType,
    Grant,
    Role,
    Scope,
    Tenant,
)

A, B, C = "https://a.example", "https://b.example", "https://c.example"
ANYWHERE = ("read", "write", "applications:write", "tenants:write")
APIS = {
    name: Api(
        tenant_id="t", api_id=name, identifier=name, name=name, scopes=tuple(Scope(name=s) for s in ANYWHERE),
        created_at=0,
    )
    for name in (A, B, C, ADMIN_API)
}  # fmt: skip
TENANT = Tenant(tenant_id="t", slug="default", name="default", created_at=0)


def standing(*, tenant: Tenant = TENANT, role: tuple[Grant, ...] = (), **grants: str) -> Standing:
    """An application with scopes by API: a="read write"."""
    names = {"a": A, "b": B, "c": C, "admin": ADMIN_API}
    application = Application(
        tenant_id="t", client_id="shop", name="shop", created_at=0, grant_types=(CLIENT_CREDENTIALS, TOKEN_EXCHANGE),
        grants=tuple(Grant(api_id=names[name], scopes=tuple(scopes.split())) for name, scopes in grants.items()),
        role_ids=("r",) if role else (), exchange_from=(A,),
    )  # fmt: skip
    roles = {"r": Role(tenant_id="t", role_id="r", name="r", access=role, created_at=0)}
    return Standing(tenant, application, APIS, granted_scopes(application, roles, APIS))


def asked(
    by: Standing, *resources: str, scope: str = "", grant: str = CLIENT_CREDENTIALS, subject: Any = None
) -> Access:
    """What one request gets."""
    exchange = Exchange("token", ACCESS_TOKEN, "", "", "", "", "") if subject is not None else None
    request = TokenRequest(
        Credentials("client_secret_basic", "shop", ""), grant, scope, resources, (), members=exchange
    )
    return GRANTS[grant].judge(by, request, (subject,) if subject is not None else ())


def test_scopes_do_not_add_up() -> None:
    """`read` at one API and `write` at another would be `write` at both, and with the admin API everything."""
    by = standing(a="read", b="write read")
    for scope in ("write", "read write"):
        with pytest.raises(InvalidScope):
            asked(by, A, B, scope=scope)
    assert asked(by, A, B, scope="read").scopes == ("read",)
    assert asked(by, A, B).scopes == ("read",)
    assert asked(by, B).scopes == ("read", "write")


def test_nothing_in_common_says_what_to_do() -> None:
    """An empty token would be refused by both APIs, and nobody know why."""
    with pytest.raises(InvalidScope, match="ask for one token each"):
        asked(standing(a="read", b="write"), A, B)


def test_roles_add_up_at_one_api_only() -> None:
    """What a role gives at one API would be good at another."""
    by = standing(a="read", b="read", role=(Grant(api_id=A, scopes=("write",)),))
    assert asked(by, A).scopes == ("read", "write")
    assert asked(by, A, B).scopes == ("read",)


@pytest.mark.parametrize("scope", ["", "read", "tenants:write"])
def test_the_administration_api_is_alone(scope: str) -> None:
    """A scope of another API that is called as one of administration would administer."""
    by = standing(a="read tenants:write", admin="read applications:write")
    with pytest.raises(InvalidTarget, match="alone"):
        asked(by, A, ADMIN_API, scope=scope)
    assert asked(by, ADMIN_API).scopes == ("applications:write", "read")


def test_a_tenant_turns_several_off() -> None:
    """An operator who wants one audience a token could not have it."""
    by = standing(tenant=replace(TENANT, several_apis=False), a="read", b="read")
    with pytest.raises(InvalidTarget, match="one token each"):
        asked(by, A, B)
    assert asked(by, A, A).audience == (A,)


def test_exchange_does_not_add_up() -> None:
    """The token of a caller would be traded for scopes that the service has at another of the APIs."""
    subject = {"sub": "user", "aud": A, "scope": "read write", "jti": "j", "exp": 9}
    by = standing(b="read write", c="read")
    assert asked(by, B, C, grant=TOKEN_EXCHANGE, subject=subject).scopes == ("read",)
    with pytest.raises(InvalidScope):
        asked(by, B, C, scope="write", grant=TOKEN_EXCHANGE, subject=subject)
    with pytest.raises(OAuthError):
        asked(standing(b="read", admin="read"), B, ADMIN_API, grant=TOKEN_EXCHANGE, subject=subject)


def test_details_fit_each_api_that_reads_them() -> None:
    """An object would be checked by the schema of one API, and believed by another."""
    small = {"type": "object", "properties": {"amount": {"type": "integer", "maximum": 10}}}
    large = {"type": "object", "properties": {"amount": {"type": "integer", "maximum": 1_000}}}
    a = replace(APIS[A], details_types=(DetailsType(name="pay", schema=small),))
    b = replace(APIS[B], details_types=(DetailsType(name="pay", schema=large),))
    objects: Any = ({"type": "pay", "amount": 500},)
    assert granted_details(objects, ("pay",), [b, APIS[C]]) == objects
    for targets in ([a, b], [b, a]):
        with pytest.raises(InvalidAuthorizationDetails):
            granted_details(objects, ("pay",), targets)


def test_the_app_id_surface_never_reaches_administration() -> None:
    """Its tokens hold the scopes of all applications: the administration API has to stay out of them."""
    by = standing(a="read", admin="applications:write")
    request = TokenRequest(Credentials("client_secret_basic", "shop", ""), CLIENT_CREDENTIALS, "", (), ())
    access = APPID_GRANTS[CLIENT_CREDENTIALS].judge(by, request, ())
    assert (access.audience, access.scopes) == (("shop",), ("appid_default",))
