"""Fixtures that every folder of tests shares."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.groups import pytest_collection_modifyitems as pytest_collection_modifyitems
from tests.support.postgres import Postgres
from tests.support.supervisor import pytest_configure as pytest_configure

os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"  # never the keyring of whoever runs the tests
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every command that a test starts would compile the sources anew
sys.dont_write_bytecode = False


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def postgres_dsn(postgres: Postgres) -> str:
    """For an `instance` or for `nodes`, which fill it: the database is not there before."""
    return postgres.promised_database()


@pytest.fixture
def migrated_postgres_dsn(postgres: Postgres) -> str:
    """Today's tables, empty."""
    return postgres.migrated_database()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    given = os.environ.get("WATCHWORD_SHARED")
    path = Path(given) if given else Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("the shared cases are not here; set WATCHWORD_SHARED to their folder")
    return path
