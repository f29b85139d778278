"""`watchword app rotate`: what it says of the older secrets."""

from __future__ import annotations

import pytest

from watchword.cli.admin.applications import ending


@pytest.mark.parametrize(
    ("expires_at", "words"),
    [(1_000, "no longer works"), (87_400, "1970-01-02T00:16:40Z (in 24 hours)"), (1_600, "(in 10 minutes)")],
)
def test_when_an_older_secret_ends(expires_at: int, words: str) -> None:
    """Somebody who rotates would not know until when the programs have to be changed."""
    assert words in ending({"secret_id": "an-id", "expires_at": expires_at}, 1_000.0)
