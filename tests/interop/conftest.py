"""One server for every peer: the API `AUDIENCE`, and callers that differ in where they put their secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.served import Registered, register, serving

AUDIENCE = "https://payments.example"
SCOPE = "payments:charge"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder) as base:
        yield register(base, folder, AUDIENCE, (SCOPE,), "client_secret_basic", "client_secret_post")
