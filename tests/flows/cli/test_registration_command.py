"""`watchword registration`, and a registration over HTTP with what it printed."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tests.support.served import serving, watchword

from watchword.client import ClientCredentials, SharedSecret
from watchword.jose import Algorithm, PrivateKey

API = "https://ledger.example"


def test_from_the_command_to_the_token(tmp_path: Path) -> None:
    """What the guide says would not work; or a used-up token look as if it were open."""
    publisher = tmp_path / "publisher.jwk"
    publisher.write_text(json.dumps(PrivateKey.generate(Algorithm.ES256).public.to_jwk()))
    with serving(tmp_path) as base:
        assert watchword(tmp_path, "api", "create", API, "--scope", "a:read").returncode == 0
        made = watchword(
            tmp_path, "registration", "create", "CI", "--grant", f"{API}=a:read", "--label", "team=pay", "--auth",
            "client_secret_post", "--publisher", f"https://p.example={publisher}", "--name-prefix", "ci-", "--json",
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        token = json.loads(made.stdout)["token"]
        assert token.startswith("wwiat_")
        listed = watchword(tmp_path, "registration", "list").stdout
        assert "open" in listed
        assert token not in listed
        issuer = f"{base}/t/default"
        answer = httpx.post(
            f"{issuer}/register", json={"client_name": "x"}, headers={"authorization": f"Bearer {token}"}
        )
        app = answer.json()
        assert (answer.status_code, app["client_name"]) == (201, "ci-x")
        pair = app["client_id"], app["client_secret"]
        assert ClientCredentials(issuer, pair[0], SharedSecret(pair[1], "client_secret_post")).token().scope == "a:read"
        assert "used up" in watchword(tmp_path, "registration", "list").stdout
        second = json.loads(watchword(tmp_path, "registration", "create", "two", "--json").stdout)
        assert watchword(tmp_path, "registration", "revoke", second["token_id"]).returncode == 0
        assert "revoked" in watchword(tmp_path, "registration", "list").stdout


@pytest.mark.parametrize("option", [("--label", "x"), ("--publisher", "=file")])
def test_wrong_use(tmp_path: Path, option: tuple[str, str]) -> None:
    """A policy that lost a part on the way to the server."""
    with serving(tmp_path):
        made = watchword(tmp_path, "registration", "create", "CI", *option)
    assert made.returncode == 2
    assert "=" in made.stderr
