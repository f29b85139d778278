"""Jobs that have no secret: a key that stays where it is, or the identity that the platform gives."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
from tests.support.served import serving, watchword

from watchword.jose import Algorithm, PrivateKey, Signer

API = "https://rs1.example/"
CLUSTER = "https://kubernetes.default.svc.cluster.local"


def registered(folder: Path, *options: str) -> str:
    """A client id."""
    watchword(folder, "api", "create", API, "--scope", "a:read")
    made = watchword(folder, "app", "create", "job", "--grant", f"{API}=a:read", *options, "--json")
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["client_id"])


def test_a_key_that_stays_where_it_was_made(tmp_path: Path) -> None:
    """`watchword token` would need a secret for an application that was given a key so as to have none."""
    with serving(tmp_path) as base:
        key = tmp_path / "job.pem"
        made = watchword(tmp_path, "app", "keys", "new", str(key))
        assert made.returncode == 0, made.stderr
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert "d" not in json.loads(made.stdout)
        (tmp_path / "job.jwk").write_text(made.stdout)
        client_id = registered(tmp_path, "--auth", "private_key_jwt", "--jwks", str(tmp_path / "job.jwk"))
        job = {"WATCHWORD_CLIENT_ID": client_id, "WATCHWORD_CLIENT_KEY_FILE": str(key)}
        got = watchword(tmp_path, "token", "--no-cache", **job)
        assert got.returncode == 0, got.stderr
        # The same from a profile, and the child of `run` inherits nothing to prove itself with.
        issuer = f"{base}/t/default"
        kept = watchword(
            tmp_path, "profile", "set", "job", "--issuer", issuer, "--client-id", client_id, "--key-file", str(key)
        )
        assert kept.returncode == 0, kept.stderr
        assert str(key) in watchword(tmp_path, "profile", "show", "job").stdout
        ran = watchword(tmp_path, "run", "--profile", "job", "--", "env", **job)
        assert "WATCHWORD_TOKEN=" in ran.stdout
        assert "KEY_FILE" not in ran.stdout
        again = watchword(tmp_path, "app", "keys", "new", str(key))
        assert (again.returncode, "exists" in again.stderr) == (1, True), "a key in use would be gone"


def test_the_identity_of_the_platform(tmp_path: Path) -> None:
    """A pod's job would need a secret beside the identity that the cluster gives it."""
    cluster = PrivateKey.generate(Algorithm.ES256)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [cluster.public.to_jwk()]}))
    with serving(tmp_path) as base:
        added = watchword(
            tmp_path, "tenant", "issuers", "add", CLUSTER, "--kind", "kubernetes", "--jwks", str(tmp_path / "jwks.json")
        )
        assert added.returncode == 0, added.stderr
        subject = "system:serviceaccount:payments:charger"
        options = ("--auth", "federated_jwt", "--issuer", CLUSTER, "--claim", f"sub={subject}")
        client_id, now = registered(tmp_path, *options), int(time.time())
        claims = {
            "iss": CLUSTER, "sub": subject, "aud": [f"{base}/t/default"], "iat": now, "nbf": now, "exp": now + 600,
        }  # fmt: skip
        token = tmp_path / "token"
        token.write_text(Signer(cluster, typ=None).sign(json.dumps(claims).encode()))
        pod = {"WATCHWORD_CLIENT_ID": client_id, "WATCHWORD_PLATFORM_TOKEN_FILE": str(token)}
        for name in ("", "kubernetes"):
            got = watchword(tmp_path, "token", "--no-cache", **pod, WATCHWORD_PLATFORM=name)
            assert got.returncode == 0, got.stderr


@pytest.mark.parametrize("name", ["azure", "spiffe"])
def test_a_platform_that_is_none(tmp_path: Path, name: str) -> None:
    """A typing error would be invalid_client, and look like the issuer's fault."""
    known = {"WATCHWORD_ISSUER": "https://id.example/t/acme", "WATCHWORD_CLIENT_ID": "an-id"}
    ran = watchword(tmp_path, "token", **known, WATCHWORD_PLATFORM=name)
    assert ran.returncode == 2
    assert name in ran.stderr
