"""What an administrator may call an API, and which foreign hashes may be imported."""

from __future__ import annotations

import pytest

from watchword.server.registry.errors import Invalid
from watchword.server.registry.imported_hash import check_imported_digest
from watchword.server.registry.rules import check_identifier


@pytest.mark.parametrize("identifier", ["http://[x", "https://[::1", "https://a.example/#b", "javascript:x", "a b", ""])
def test_what_names_no_api(identifier: str) -> None:
    """Python's own reader raises for half an address: the operator would get an internal error for a typing error."""
    with pytest.raises(Invalid):
        check_identifier(identifier)


@pytest.mark.parametrize(
    "digest",
    [
        "bcrypt:$2b$\u00b2$" + "a" * 53, "bcrypt:$2b$" + "1" * 5_000 + "$" + "a" * 53, "bcrypt:$2b$13$" + "a" * 53,
        "pbkdf2_sha256$" + "9" * 5_000 + "$s$" + "a" * 64, "pbkdf2_sha256$\u0661\u0662$s$" + "a" * 64,
        "pbkdf2_sha256$0$s$" + "a" * 64,
    ],
)  # fmt: skip
def test_rounds_that_are_no_number(digest: str) -> None:
    """Digits that `int` does not read, or too many for it, would be an internal error in an import of thousands."""
    with pytest.raises(Invalid):
        check_imported_digest(digest)
    check_imported_digest("bcrypt:$2b$12$" + "a" * 53)
    check_imported_digest("pbkdf2_sha256$1000000$s$" + "a" * 64)
