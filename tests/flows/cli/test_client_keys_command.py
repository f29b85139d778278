"""`watchword app create --auth private_key_jwt` and `watchword app keys`, as their users meet them."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

import httpx
from tests.flows.cli.test_command_line import serving, watchword
from tests.support.assertions import TYPE, compose, jwks

from watchword.jose import Algorithm, PrivateKey


def test_an_application_with_keys_from_the_command_line(tmp_path: Path) -> None:
    """The documentation's way to keys in place of secrets would not lead there."""
    first, second = PrivateKey.generate(Algorithm.ES256), PrivateKey.generate(Algorithm.EdDSA)
    one, set_of = tmp_path / "first.jwk", tmp_path / "jwks.json"
    one.write_text(json.dumps(first.public.to_jwk()))
    set_of.write_text(json.dumps(jwks(second)))
    with serving(tmp_path, WATCHWORD_FETCH_FROM_LOOPBACK="true") as base:

        def run(*arguments: str, status: int = 0) -> str:
            done = watchword(tmp_path, *arguments)
            assert done.returncode == status, done.stdout + done.stderr
            return done.stdout if status == 0 else done.stderr

        def token(key: PrivateKey) -> int:
            now, issuer = int(time.time()), f"{base}/t/default"
            claims = {"iss": made, "sub": made, "aud": issuer, "exp": now + 60, "jti": str(uuid.uuid4())}
            header = {"alg": key.algorithm.value, "kid": key.kid}
            data = {
                "grant_type": "client_credentials", "client_assertion_type": TYPE,
                "client_assertion": compose(header, json.dumps(claims).encode(), key.sign),
            }  # fmt: skip
            return httpx.post(f"{issuer}/token", data=data).status_code

        run("api", "create", "https://rs1.example", "--scope", "a:read")
        create = ["app", "create", "payroll", "--auth", "private_key_jwt", "--grant", "https://rs1.example=a:read"]
        assert "jwks" in run(*create, status=1)
        shown = json.loads(run(*create, "--jwks", str(one), "--json"))
        made = shown["client_id"]
        assert shown["client_secret"] is None
        assert token(first) == 200
        assert token(second) == 401
        run("app", "keys", "add", made, str(set_of))
        assert token(second) == 200
        listed = json.loads(run("app", "keys", "list", made, "--json"))
        assert [key["kid"] for key in listed] == [first.kid, second.kid]
        run("app", "keys", "remove", made, first.kid)
        assert token(first) == 401
        assert "last key" in run("app", "keys", "remove", made, second.kid, status=1)
        assert "cannot read" in run("app", "keys", "add", made, "nowhere.json", status=1)
        by_address = json.loads(run(*create, "--jwks-uri", f"{base}/t/default/jwks", "--json"))
        assert by_address["jwks_uri"] == f"{base}/t/default/jwks"
        assert "stand at" in watchword(tmp_path, "app", "keys", "list", by_address["client_id"]).stderr
        assert "public" in run(*create, "--jwks-uri", "https://10.0.0.1/jwks", status=1)
