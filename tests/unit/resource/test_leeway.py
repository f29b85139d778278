"""Tolerances of an API's clock, and the claims that an access token must have."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.resource.test_verifier import API, ISSUER, World, claims, signed

from watchword.resource import Issuer, TokenInvalid, TransactionTokens, Verifier
from watchword.resource.dpop import Dpop

NOTHING: list[Any] = [float("nan"), float("inf"), float("-inf"), -1, -0.001, True]


@pytest.mark.parametrize("leeway", NOTHING)
def test_a_leeway_that_is_none(leeway: float) -> None:
    """With NaN or infinity no token ever expires; a negative one rejects fresh tokens."""
    with pytest.raises(ValueError, match="leeway"):
        Verifier(ISSUER, audience=API, leeway=leeway)
    with pytest.raises(ValueError, match="leeway"):
        TransactionTokens(ISSUER, trust_domain="example", leeway=leeway)
    with pytest.raises(ValueError, match="leeway"):
        Dpop(leeway=leeway)
    with pytest.raises(ValueError, match="life"):
        Dpop(life=float("nan"))


def test_a_long_leeway_is_told() -> None:
    """Somebody who writes milliseconds accepts each token for hours."""
    with pytest.warns(UserWarning, match="leeway is 61 s"):
        Verifier(ISSUER, audience=API, leeway=61)
    assert Verifier(ISSUER, audience=API, leeway=60)


@pytest.mark.parametrize("name", ["jti", "iat"])
def test_what_an_access_token_must_have(name: str) -> None:
    """RFC 9068 section 2.2: without `jti` a token can be neither revoked nor told from another."""
    world = World()
    with pytest.raises(TokenInvalid, match=r"RFC 9068"):
        world.verifier.verify(signed(claims(**{name: ...})))
    lenient = World(Issuer(ISSUER, typ=frozenset({"at+jwt", "JWT"})))
    with pytest.raises(TokenInvalid, match=r"RFC 9068"):
        lenient.verifier.verify(signed(claims(**{name: ...}), typ="application/AT+JWT"))
    assert lenient.verifier.verify(signed(claims(**{name: ...}), typ="JWT")).client_id == "app"
