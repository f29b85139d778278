"""An issuer for every module of this folder, and a verifier that believes it."""

from collections.abc import Iterator

import pytest
from tests.adapters import contract
from tests.adapters.contract import AUDIENCE, Issuer

from watchword.resource import Verifier


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with contract.issuer() as made:
        yield made


@pytest.fixture
def verifier(issuer: Issuer) -> Verifier:
    return Verifier(issuer.url, audience=AUDIENCE)
