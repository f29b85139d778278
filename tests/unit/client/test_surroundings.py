"""What proves a program: which of the things that it was given counts, and what is said when none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchword.client import ClientCertificate, PlatformToken, PrivateKeyJwt
from watchword.client.surroundings import FIELDS, in_environment, proof_of

ISSUER = "https://id.example/t/acme"
CERTIFICATE = {"client_certificate_file": "app.crt", "client_key_file": "app.key"}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        pytest.param(CERTIFICATE, ClientCertificate, id="certificate"),
        pytest.param({"client_certificate_file": "both.pem"}, ClientCertificate, id="certificate and key in one file"),
        pytest.param({"client_key_file": "app.key"}, PrivateKeyJwt, id="key"),
        pytest.param({"platform": "kubernetes"}, PlatformToken, id="kubernetes"),
        pytest.param({"platform": "github"}, PlatformToken, id="github"),
        pytest.param({"platform": "gitlab"}, PlatformToken, id="gitlab"),
        pytest.param({"platform_token_file": "svid"}, PlatformToken, id="a file"),
        pytest.param({"platform": "spiffe", "platform_token_file": "svid"}, PlatformToken, id="spiffe"),
    ],
)
def test_each_way(given: dict[str, str], kind: type) -> None:
    """An application without a secret could not run as a job. A secret that is left over beside it does not count."""
    assert isinstance(proof_of(given, ISSUER), kind)
    assert isinstance(proof_of({**given, "client_secret": "old"}, ISSUER), kind)


def test_secrets(tmp_path: Path) -> None:
    """The file counts before the variable: what is mounted is what is rotated."""
    (tmp_path / "secret").write_text("mounted\n")
    file = proof_of({"client_secret_file": str(tmp_path / "secret"), "client_secret": "old"}, ISSUER)
    text = proof_of({"client_secret": "a secret"}, ISSUER)
    assert callable(file)
    assert callable(text)
    assert (file().reveal(), text().reveal()) == ("mounted", "a secret")
    assert proof_of({}, ISSUER) is None


@pytest.mark.parametrize(("given", "word"), [({"platform": "azure"}, "azure"), ({"platform": "spiffe"}, "file")])
def test_platforms_that_are_none(given: dict[str, str], word: str) -> None:
    """A typing error would end as invalid_client at the issuer, hours later."""
    with pytest.raises(ValueError, match=word):
        proof_of(given, ISSUER)


def test_a_jwt_svid_says_that_it_is_one(tmp_path: Path) -> None:
    """The issuer would look for the keys of an `iss` that a JWT-SVID need not have."""
    (tmp_path / "svid").write_text("a.b.c")
    for name, word in (("spiffe", "jwt-spiffe"), ("", "jwt-bearer")):
        proof = proof_of({"platform": name, "platform_token_file": str(tmp_path / "svid")}, ISSUER)
        assert isinstance(proof, PlatformToken)
        assert str(dict(proof.prove("an-id", ISSUER, 0).form)["client_assertion_type"]).endswith(word)


def test_the_environment(tmp_path: Path) -> None:
    """Every field has its variable; systemd's credential counts when nothing else is there."""
    assert in_environment({f"WATCHWORD_{name.upper()}": "x" for name in FIELDS}) == dict.fromkeys(FIELDS, "x")
    assert in_environment({"WATCHWORD_PLATFORM": ""}) == {}
    assert in_environment({"WATCHWORD_CLIENT_KEY_ID": "mine"}) == {}, "a name without a key proves nobody"
    (tmp_path / "watchword-client-secret").write_text("a secret")
    systemd = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert in_environment(systemd) == {"client_secret_file": str(tmp_path / "watchword-client-secret")}
    assert in_environment({**systemd, "WATCHWORD_PLATFORM": "github"}) == {"platform": "github"}
