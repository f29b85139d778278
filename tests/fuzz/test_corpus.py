"""Inputs that once found a way of their own through a parser (`python -m tests.fuzz`), and new ones like them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.inputs import inputs
from tests.fuzz.parsers import PARSERS, kind_of

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", PARSERS)
def test_what_was_found_before(name: str) -> None:
    """A rule of a parser that is never reached any more is one that was lost; a crash that came back is a 500."""
    kept = sorted((CORPUS / name).iterdir())
    kinds = {kind_of(PARSERS[name](path.read_bytes())) for path in kept}
    assert len(kinds) == len(kept) >= 7
    assert kinds & {"proven", "read"}


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_input(name: str, data: st.DataObject) -> None:
    """A stranger's bytes would be answered with a 500, or taken for a proof of another time."""
    PARSERS[name](data.draw(inputs(name)))
