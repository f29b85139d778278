"""Grants as rows of a table: a new one is issued through the verb as it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Struct

from watchword.jose import Algorithm, PrivateKey
from watchword.jose.nonces import Nonces
from watchword.server.protocol.access import Access, Kind
from watchword.server.protocol.appid import GRANTS as APPID_GRANTS
from watchword.server.protocol.client_auth.grounds import Proven
from watchword.server.protocol.dpop import ProofRules
from watchword.server.protocol.errors import InvalidRequest, OAuthError, UnauthorizedClient, UnsupportedGrantType
from watchword.server.protocol.grants import GRANTS, REPEATABLE_BY_SOME
from watchword.server.protocol.grants.grant import Grant, Grants, Seen, ShownToken
from watchword.server.protocol.request import Form, TokenRequest, text
from watchword.server.protocol.standing import Standing
from watchword.server.protocol.token_form import token_request
from watchword.server.registry.model import TOKEN_EXCHANGE, Application, Tenant, TokenSettings
from watchword.server.registry.profiles import PROFILES
from watchword.server.service.clients.prove_client import Client
from watchword.server.service.tokens.issue_token import IssueToken
from watchword.server.service.tokens.oauth_surface import oauth_surface
from watchword.server.service.tokens.surface import Surface

NOW, VOUCHER = 1_800_000_000.0, "urn:example:voucher"
KEY = PrivateKey.generate(Algorithm.ES256)


class Receipt(Struct):
    """The claims of the kind of token that the test's grant gives."""

    sub: str
    scope: str
    exp: int
    txn: str


class voucher:
    """A grant that no file of the server knows: a voucher of another application becomes a receipt."""

    @staticmethod
    def read(form: Form) -> str:
        return text(form, "voucher")

    @staticmethod
    def shown(standing: Standing, request: TokenRequest) -> tuple[ShownToken, ...]:
        if not request.members:
            raise InvalidRequest("voucher is missing")
        return (ShownToken(str(request.members), "voucher+jwt"),)

    @staticmethod
    def judge(standing: Standing, request: TokenRequest, seen: Seen) -> Access:
        [claims] = seen
        if claims is None:
            raise InvalidRequest("voucher is not an active one")
        depends_on, audience = frozenset({claims["jti"]}), request.audiences
        return Access(
            claims["sub"], audience, ("buy",), TokenSettings(), depends_on=depends_on, issued_type="receipt", kind=KIND
        )

    @staticmethod
    def claims(access: Access, issuer: str, now: int, token_id: str) -> Receipt:
        return Receipt(access.subject, " ".join(access.scopes), now + 60, f"txn of {token_id}")


KIND = Kind("receipt+jwt", voucher.claims)
ROW = Grant(VOUCHER, voucher.judge, read=voucher.read, repeatable=frozenset({"audience"}), shown=voucher.shown)
WITH_VOUCHERS: Grants = {**GRANTS, VOUCHER: ROW}


class Surroundings:
    """Everything that the verb asks, in memory. The first commits fail as often as `changes` says."""

    def __init__(self, grant_types: tuple[str, ...] = (VOUCHER,), changes: int = 0) -> None:
        tenant = Tenant(tenant_id="t", slug="default", name="default", created_at=0)
        application = Application(tenant_id="t", client_id="shop", name="shop", grant_types=grant_types, created_at=0)
        self.standing = Standing(tenant, application, {}, {})
        self.place = SimpleNamespace(tenant=tenant, profile=PROFILES[""], signing={"ES256": KEY}, derived={})
        self.active: dict[str, dict[str, Any]] = {"v1": {"sub": "guest", "jti": "voucher-1"}}
        self.seen: list[ShownToken] = []
        self.recorded: list[tuple[Any, ...]] = []
        self.changes, self.fresh = changes, 0
        around: Any = self
        rules, nothing = ProofRules(Nonces(bytes(32))), bytes
        self.issue = IssueToken(around, around, around, self.prove, rules, around, lambda: NOW, nothing, around)  # type: ignore[arg-type]
        statuses: Any = None
        self.native = oauth_surface(lambda slug: f"https://id.example/t/{slug}", nothing, statuses)

    async def tenant(self, slug: str) -> Any:
        return self.place

    async def must_be_fresh(self) -> None:
        self.fresh += 1

    async def prove(self, *_: Any) -> Client:
        return Client(self.standing, Proven(), as_of=7)

    async def shown(self, tenant: Any, token: ShownToken, now: float) -> dict[str, Any] | None:
        self.seen.append(token)
        return self.active.get(token.unverified)

    async def submit(self, *entry: Any) -> bool:
        self.recorded.append(entry)
        self.changes -= 1
        return self.changes < 0

    async def __call__(self, grants: Grants = WITH_VOUCHERS, **form: str | list[str]) -> Any:
        """A token request through the verb, on a surface that allows `grants`."""
        request = token_request(form, ("shop", "s"), grants=grants)
        return await self.issue("default", request, Surface("test", self.native.mint, grants))


async def test_a_new_grant_needs_no_change_of_the_verb() -> None:
    """A grant that the verb has to know by name is spread over the server again."""
    around = Surroundings()
    issued = await around(grant_type=VOUCHER, voucher="v1", audience=["one", "two"])
    assert (issued.token_type, issued.issued_token_type, issued.scope) == ("N_A", "receipt", "buy")
    assert issued.expires_in == 60
    assert around.seen == [ShownToken("v1", "voucher+jwt")]
    [(tenant_id, client_id, event, row, as_of, marks, depends_on)] = around.recorded
    assert (tenant_id, client_id, row, as_of, marks) == ("t", "shop", None, 7, ())
    assert depends_on == {"voucher-1"}
    assert (event.audience, event.surface) == (("one", "two"), "test")
    assert event.txn == f"txn of {event.token_id}"


async def test_what_a_new_grant_depends_on_is_judged_again() -> None:
    """A voucher that is revoked between the look at it and the commit would still be worth a token."""
    around = Surroundings(changes=2)
    await around(grant_type=VOUCHER, voucher="v1")
    assert (len(around.recorded), len(around.seen), around.fresh) == (3, 3, 3)
    around.active.clear()
    with pytest.raises(InvalidRequest, match="voucher is not an active one"):
        await around(grant_type=VOUCHER, voucher="v1")


@pytest.mark.parametrize(
    ("grants", "form", "refusal"),
    [
        (WITH_VOUCHERS, {"grant_type": VOUCHER}, InvalidRequest),
        (WITH_VOUCHERS, {"voucher": "v1"}, InvalidRequest),
        (WITH_VOUCHERS, {"grant_type": TOKEN_EXCHANGE}, UnauthorizedClient),
        (GRANTS, {"grant_type": VOUCHER, "voucher": "v1"}, UnsupportedGrantType),
        (APPID_GRANTS, {"grant_type": VOUCHER, "voucher": "v1"}, UnsupportedGrantType),
    ],
)
async def test_a_surface_issues_by_its_own_grants_only(
    grants: Grants, form: dict[str, str], refusal: type[OAuthError]
) -> None:
    """A grant that is new on one surface would be open on each of them, and to every application."""
    around = Surroundings()
    with pytest.raises(refusal):
        await around(grants, **form)
    assert not around.recorded


async def test_app_id_refuses_the_other_grants_of_this_server() -> None:
    """A grant that is added to the table would be issued as App ID's without its audience rule."""
    others = GRANTS.keys() - {"client_credentials"}
    assert others and APPID_GRANTS.keys() == GRANTS.keys()
    for grant_type in others:
        with pytest.raises(UnsupportedGrantType):
            await Surroundings((grant_type,))(APPID_GRANTS, grant_type=grant_type)


@pytest.mark.parametrize("grant_type", ["client_credentials", "unknown", ""])
def test_only_a_grant_that_declares_it_may_repeat_a_parameter(grant_type: str) -> None:
    """Of two audiences the first would count here and the second in a proxy before us."""
    assert sorted(REPEATABLE_BY_SOME) == ["audience"]
    form: Form = {"grant_type": grant_type, "audience": ["one", "two"]}
    with pytest.raises(InvalidRequest, match="a parameter is repeated"):
        token_request(form, None)
    assert token_request({**form, "grant_type": TOKEN_EXCHANGE}, None).audiences == ("one", "two")


def test_each_row_stands_under_its_own_grant_type() -> None:
    """A row under another name would be allowed to applications that were given something else."""
    assert all(grant.grant_type == name for table in (GRANTS, APPID_GRANTS) for name, grant in table.items())
