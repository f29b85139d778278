"""The client library signs, our server judges: a key made by openssl, registered by the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support.served import serving, watchword

from watchword.client import ClientCredentials, PrivateKeyJwt, from_file
from watchword.jose import PrivateKey
from watchword.resource import Verifier

API = "https://rs1.example/"


def test_a_key_of_openssl(tmp_path: Path) -> None:
    """What the guide says would end in invalid_client."""
    file, public = tmp_path / "app.pem", tmp_path / "app.jwk"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(file)], check=True)
    file.chmod(0o600)
    public.write_text(json.dumps(PrivateKey.from_pem(file.read_bytes()).public.to_jwk()))
    with serving(tmp_path) as base:
        known = {"WATCHWORD_ISSUER": f"{base}/t/default"}
        assert watchword(tmp_path, "api", "create", API, "--scope", "a:read", **known).returncode == 0
        made = watchword(
            tmp_path, "app", "create", "signs", "--auth", "private_key_jwt", "--jwks", str(public),
            "--grant", f"{API}=a:read", "--json", **known,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        proof = PrivateKeyJwt(from_file(file))
        auth = ClientCredentials(f"{base}/t/default", json.loads(made.stdout)["client_id"], proof)
        claims = Verifier(f"{base}/t/default", audience=API).verify(auth.token().value, "a:read")
        assert claims.client_id == json.loads(made.stdout)["client_id"]
