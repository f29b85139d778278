"""Names of status lists, the order of their places, and their bits."""

from __future__ import annotations

import itertools
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.jose.encoding import b64url, unb64url
from watchword.server.protocol.status_list import (
    CHANCE,
    KEPT,
    RANDOM,
    SIZE,
    USE,
    ListName,
    Scatter,
    compressed,
    read_name,
)
from watchword.server.registry.model import MAX_LIFETIME
from watchword.server.service.tokens.status_indexes import StatusIndexes

KEY = b"k" * 32
NAME = ListName(1_800_000_000, "ML-DSA-44", b"0123456789")


def test_every_place_is_given_out_once_and_in_no_order() -> None:
    """Two tokens of one place would be revoked together; places in order tell how many tokens were issued between."""
    scatter = Scatter(random.Random(1).randbytes(CHANCE))
    seen = {scatter.index(number) for number in range(SIZE)}
    assert len(seen) == SIZE and min(seen) == 0 and max(seen) == SIZE - 1
    first = [scatter.index(number) for number in range(1_000)]
    steps = [abs(one - other) for one, other in itertools.pairwise(first)]
    assert len(set(steps)) > 980 and sum(step < 1_000 for step in steps) < 20
    assert first != [Scatter(random.Random(2).randbytes(CHANCE)).index(number) for number in range(1_000)]


def test_a_name_says_what_was_put_into_it() -> None:
    """A worker could not serve a list that another began."""
    written = NAME.write(KEY, "tenant")
    assert read_name(written, KEY, "tenant") == NAME
    assert len(written) == 43 and NAME.ends_at == NAME.made_at + KEPT
    assert KEPT >= USE + MAX_LIFETIME


@pytest.mark.parametrize("place", range(32))
def test_a_name_that_was_changed_is_none(place: int) -> None:
    """Anybody could make us sign lists of his own, each of them kept in memory."""
    raw = bytearray(unb64url(NAME.write(KEY, "tenant").encode()))
    raw[place] ^= 1
    assert read_name(b64url(bytes(raw)).decode(), KEY, "tenant") is None


def test_a_name_is_one_tenant_s_under_one_key() -> None:
    """A tenant could serve another's list, and say what it likes of the other's tokens."""
    written = NAME.write(KEY, "tenant")
    assert read_name(written, KEY, "other") is None
    assert read_name(written, b"x" * 32, "tenant") is None


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_no_name_breaks_the_reader(text: str) -> None:
    """A stranger's path would be a 500 (fuzz)."""
    assert read_name(text, KEY, "tenant") is None


def test_bits_as_the_draft_packs_them() -> None:
    """Section 4.1: the lowest bit of a byte comes first; another order revokes other tokens."""
    marked = [0, 3, 4, 5, 7, 8, 9, 13, 15, SIZE - 1]
    raw = zlib.decompress(unb64url(compressed(marked).encode()))
    assert len(raw) == SIZE // 8
    assert (raw[0], raw[1], raw[-1], sum(raw[2:-1])) == (0xB9, 0xA3, 0x80, 0)
    assert len(compressed([])) < 300


def test_a_worker_begins_another_list_when_one_is_full_or_old() -> None:
    """A list that is used up would give its places twice; an old one would be gone before its last token is."""

    class Tenant:
        tenant_id = slug = "acme"

    class View:
        tenant = Tenant()

    chance = random.Random(3)
    indexes = StatusIndexes(KEY, lambda slug: f"https://id.example/t/{slug}", chance.randbytes, size=3)

    def give(now: float, algorithm: str = "ES256") -> tuple[str, int]:
        place = indexes.next(View(), algorithm, now)["status_list"]  # type: ignore[arg-type]
        return place["uri"], place["idx"]

    first = [give(1000.5) for _ in range(3)]
    assert len({uri for uri, _ in first}) == 1 and len(set(first)) == 3
    full = give(1000.5)[0]
    assert full != first[0][0]
    assert give(1000.5, "EdDSA")[0] not in (full, first[0][0])
    assert give(1000 + USE - 1)[0] == full
    old = give(1000 + USE)[0]
    assert old != full
    assert give(999)[0] not in (old, full)  # the clock was set back
    name = read_name(old.rpartition("/")[2], KEY, "acme")
    assert name is not None and (name.made_at, name.algorithm, len(name.random)) == (1000 + USE, "ES256", RANDOM)
