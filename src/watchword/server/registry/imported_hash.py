"""Check the hash formats of imported client secrets: bcrypt and PBKDF2, each with a bounded cost."""

from __future__ import annotations

from .errors import Invalid

MIN_SECRET = 16
"""Characters of an imported secret: shorter ones are found by guessing."""
MAX_BCRYPT_COST = 12
MAX_PBKDF2_ROUNDS = 1_000_000


def check_imported_digest(text: str) -> None:
    """Raises `Invalid` except for `bcrypt:$2b$..` and `pbkdf2_sha256$rounds$salt$hex`, each with a bounded cost."""
    if text.startswith("bcrypt:$2"):
        parts = text.split("$")
        if len(parts) == 4 and _up_to(parts[2], MAX_BCRYPT_COST) and len(parts[3]) == 53:
            return
    elif text.startswith("pbkdf2_sha256$"):
        parts = text.split("$")
        if len(parts) == 4 and _up_to(parts[1], MAX_PBKDF2_ROUNDS) and len(parts[3]) == 64:
            return
    raise Invalid(
        f"use bcrypt:$2b$.. (cost at most {MAX_BCRYPT_COST}) or pbkdf2_sha256$rounds$salt$hex",
        field="secret_hash",
    )


def _up_to(text: str, most: int) -> bool:
    """Whether it is a number from 1 on; `int` itself refuses some digits, and very many of them."""
    return text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most
