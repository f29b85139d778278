"""`watchword tenant issuers` and `watchword app identities`, as their users meet them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
from tests.flows.cli.test_command_line import serving, watchword
from tests.support.assertions import TYPE, compose, jwks
from tests.support.foreign import GITHUB, KUBERNETES

from watchword.jose import Algorithm, PrivateKey

CLUSTER, HUB = "https://kubernetes.default.svc.cluster.local", "https://token.actions.githubusercontent.com"


def test_an_application_without_a_secret_from_the_command_line(tmp_path: Path) -> None:
    """The documentation's way to an application without a secret would not lead there."""
    key, rsa = PrivateKey.generate(Algorithm.ES256), PrivateKey.generate(Algorithm.RS256)
    keys, hub_keys, file = tmp_path / "jwks.json", tmp_path / "hub.json", tmp_path / "token"
    keys.write_text(json.dumps(jwks(key)))
    hub_keys.write_text(json.dumps(jwks(rsa)))
    with serving(tmp_path) as base:

        def run(*arguments: str, status: int = 0) -> str:
            done = watchword(tmp_path, *arguments)
            assert done.returncode == status, done.stdout + done.stderr
            return done.stdout if status == 0 else done.stdout + done.stderr

        def statement(**changed: Any) -> str:
            now = int(time.time())
            claims = {
                "iss": CLUSTER, "aud": [f"{base}/t/default"], "iat": now, "exp": now + 600, **KUBERNETES, **changed
            }  # fmt: skip
            file.write_text(made := compose({"alg": "ES256", "kid": key.kid}, json.dumps(claims).encode(), key.sign))
            return made

        def token(client_id: str) -> int:
            data = {
                "grant_type": "client_credentials", "client_id": client_id, "client_assertion_type": TYPE,
                "client_assertion": statement(),
            }  # fmt: skip
            return httpx.post(f"{base}/t/default/token", data=data).status_code

        run("api", "create", "https://rs1.example", "--scope", "a:read")
        assert "discovery" in run("tenant", "issuers", "add", CLUSTER, "--kind", "kubernetes", status=1)
        trust = ["tenant", "issuers", "add", CLUSTER, "--kind", "kubernetes", "--jwks", str(keys)]
        assert json.loads(run(*trust, "--json"))["max_life"] == 7_200
        assert "trusted already" in run(*trust, status=1)
        create = ["app", "create", "charger", "--auth", "federated_jwt", "--grant", "https://rs1.example=a:read"]
        rule = ["--issuer", CLUSTER, "--claim", f"sub={KUBERNETES['sub']}"]
        assert "service account" in run(*create, "--issuer", CLUSTER, "--claim", "sub=charger", status=1)
        assert "issuer" in run(*create, "--claim", "sub=charger", status=2)
        assert "is trusted" in run(*create, "--issuer", "https://nobody.example", "--claim", "sub=a", status=1)
        made = json.loads(run(*create, *rule, "--json"))
        assert made["client_secret"] is None
        app = made["client_id"]
        assert token(app) == 200
        assert f"sub = {KUBERNETES['sub']}" in run("app", "identities", "list", app)

        statement()
        told = run("app", "identities", "dry-run", app, "--token", str(file))
        assert told.splitlines()[0] == f"✓ a token of {CLUSTER}"
        statement(aud="https://other.example", sub="system:serviceaccount:payments:[/other]")
        told = run("app", "identities", "dry-run", app, "--token", str(file), status=1)
        assert "✗ a token of" in told
        assert "audience is ['https://other.example']" in told
        assert (
            '✗   sub = system:serviceaccount:payments:charger: it is "system:serviceaccount:payments:[/other]"' in told
        )
        statement()
        assert json.loads(run("app", "identities", "dry-run", "--token", str(file), *rule, "--json"))["proves"] is True
        run("app", "identities", "dry-run", "--token", str(file), status=2)
        run("app", "identities", "dry-run", app, "--token", str(file), *rule, status=2)
        assert "cannot read" in run("app", "identities", "dry-run", app, "--token", "nowhere", status=1)
        assert "no JWT" in run("app", "identities", "dry-run", app, "--token", str(keys), status=1)

        run("tenant", "issuers", "add", HUB, "--kind", "github", "--jwks", str(hub_keys), "--reusable")
        added = json.loads(
            run(
                "app", "identities", "add", app, "--issuer", HUB, "--claim", "repository_id=74", "--claim",
                "repository_id=75", "--claim-like", "ref=refs/heads/*", "--claim-has", "groups=a=b", "--claim-is",
                "protected=true", "--json",
            )
        )  # fmt: skip
        assert added["conditions"] == [
            {"claim": "repository_id", "one_of": ["74", "75"]},
            {"claim": "protected", "equals": True},
            {"claim": "ref", "glob": "refs/heads/*"},
            {"claim": "groups", "contains": "a=b"},
        ]
        listed = run("app", "identities", "list", app)
        assert "repository_id = 74 | 75, protected = true, ref glob refs/heads/*, groups contains a=b" in listed
        assert "number" in run("app", "identities", "add", app, "--issuer", HUB, "--claim", "ref=a", status=1)
        for wrong in ("--claim=a", "--claim==a", "--claim-is=a=yes"):
            run("app", "identities", "add", app, "--issuer", HUB, wrong, status=2)
        run("app", "identities", "remove", app, added["rule_id"])
        assert len(json.loads(run("app", "identities", "list", app, "--json"))) == 1

        assert "False" in run("tenant", "issuers", "change", CLUSTER, "--disable")
        assert token(app) == 401
        run("tenant", "issuers", "change", CLUSTER, "--enable", "--max-life", "600", "--audience", "a")
        shown = json.loads(run("tenant", "issuers", "show", CLUSTER, "--json"))
        assert (shown["enabled"], shown["max_life"], shown["audiences"]) == (True, 600, ["a"])
        assert [one["kind"] for one in json.loads(run("tenant", "issuers", "list", "--json"))] == [
            "kubernetes",
            "github",
        ]
        run("tenant", "issuers", "remove", shown["issuer_id"])
        assert "not trusted any more" in run("app", "identities", "list", app)
        assert "is trusted" in run("tenant", "issuers", "show", CLUSTER, status=1)
        named = json.loads(
            run("app", "create", "svid", "--client-id", "spiffe://example.org/a", "--auth", "spiffe_jwt", "--json")
        )
        assert named["client_id"] == "spiffe://example.org/a"
        assert GITHUB["repository_id"] == "74"
