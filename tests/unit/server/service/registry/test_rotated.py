"""Which older secrets a rotation leaves: the one in use, whatever was lost on the way."""

from __future__ import annotations

import pytest

from watchword.server.registry.model import Application, Secret
from watchword.server.service.desk import Caller, Desk
from watchword.server.service.registry.rotate_secret import Overlap, rotated


async def _anywhere(_: str) -> None:
    """No address is looked at here."""


def desk() -> Desk:
    """A desk without a store: the rule needs none."""
    return Desk(
        store=None,  # type: ignore[arg-type]
        pepper=b"",
        clock=lambda: 1_000.0,
        random_bytes=bytes,
        seal=lambda plain, place: plain,
        check_address=_anywhere,
    )


def left(secrets: str, used: str, *, seconds: int = 60, keep_old: int = 1) -> str:
    """The older secrets that still work, one letter each, after a rotation."""
    living = tuple(Secret(id=name, digest="hmac:", created_at=number) for number, name in enumerate(secrets))
    before = Application(tenant_id="t", client_id="c", name="n", secrets=living, created_at=0)
    fresh = Secret(id="new", digest="hmac:", created_at=9)
    uses = dict.fromkeys(used, 500)
    after, event = rotated(desk(), Caller("t", "a"), before, fresh, Overlap(seconds, keep_old), uses)
    assert after.secrets[-1] == fresh
    assert set(event.superseded) == {s.id for s in living} - {s.id for s in after.secrets}
    return "".join(secret.id for secret in after.secrets[:-1])


@pytest.mark.parametrize(
    ("secrets", "used", "kept"),
    [
        pytest.param("A", "A", "A", id="an ordinary rotation"),
        pytest.param("AB", "A", "AB", id="repeated: the answer with B was lost"),
        pytest.param("ABC", "A", "AC", id="repeated twice: A is in use"),
        pytest.param("AB", "AB", "B", id="B is in use: A ends"),
        pytest.param("AB", "", "B", id="none was ever used"),
    ],
)
def test_the_secret_in_use_goes_on_working(secrets: str, used: str, kept: str) -> None:
    """A rotation that is repeated because its answer was lost would end the secret that the application has."""
    assert left(secrets, used) == kept


def test_an_overlap_of_nothing_ends_all() -> None:
    """A leaked secret would go on working because it is in use."""
    assert left("AB", "A", seconds=0) == ""
