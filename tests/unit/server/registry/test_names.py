"""What names may look like, and what no claim may be called."""

from __future__ import annotations

import msgspec
import pytest

from watchword.server.protocol.appid import AppIdClaims, _custom_claims
from watchword.server.protocol.claims import AccessTokenClaims
from watchword.server.protocol.grants.transaction_token import TransactionTokenClaims
from watchword.server.protocol.standing import Standing
from watchword.server.registry.appid import RESERVED_CLAIMS, check_claims
from watchword.server.registry.errors import Invalid
from watchword.server.registry.model import Application, ClaimMapping, Tenant
from watchword.server.registry.rules import check_name
from watchword.server.service.view import storable

WRITTEN = ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0915\u094d\u200d\u0937", "\U0001f469\u200d\U0001f52c"]


@pytest.mark.parametrize("character", [*"\u202a\u202e\u2066\u2069\ufeff\ufff9\0", "\U000e0041", "\U000e007f"])
def test_names_that_show_something_else(character: str) -> None:
    """An administrator would read another name than the one that is meant, or one with a hidden message."""
    with pytest.raises(Invalid):
        check_name(f"pay{character}ments")
    assert not storable(f"pay{character}ments")


@pytest.mark.parametrize("name", WRITTEN)
def test_names_in_every_script(name: str) -> None:
    """Persian and Hindi are not written without joiners, and neither are many emoji."""
    check_name(name)
    assert storable(name)


def test_no_claim_is_called_as_one_that_is_read_back() -> None:
    """A label of an application would make its revoked token active, or let it act for others."""
    introspected = {"active", "username", "token_type", "client_id", "authorization_details", "status", "may_act"}
    kinds = (AccessTokenClaims, TransactionTokenClaims, AppIdClaims)
    known = introspected.union(*({field.encode_name for field in msgspec.structs.fields(kind)} for kind in kinds))
    assert known <= RESERVED_CLAIMS
    for name in known:
        mapping = ClaimMapping(source="attributes", source_claim="x", destination_claim=name)
        with pytest.raises(Invalid):
            check_claims((mapping,))
        tenant = Tenant(tenant_id="t", slug="t", name="t", created_at=0, appid_claims=(mapping,))
        application = Application(tenant_id="t", client_id="c", name="c", labels={"x": "y"}, created_at=0)
        assert _custom_claims(Standing(tenant, application, {}, {})) == {}
