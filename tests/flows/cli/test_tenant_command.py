"""Tenants, and rights of administration, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.certificates import authority
from tests.support.served import serving, watchword


def test_a_tenant_is_suspended_and_rights_are_kept_apart(tmp_path: Path) -> None:
    """An operator would have to write HTTP requests to stop a tenant, or not learn why a command is refused."""
    (tmp_path / "ca.pem").write_text(authority("CA", 1_790_000_000).pem)
    with serving(tmp_path):

        def run(*arguments: str, status: int = 0, **environment: str) -> str:
            done = watchword(tmp_path, *arguments, **environment)
            assert done.returncode == status, done.stdout + done.stderr
            return done.stdout + done.stderr

        def tenants() -> dict[str, bool]:
            return {one["slug"]: one["enabled"] for one in json.loads(run("tenant", "list", "--json"))}

        run("tenant", "create", "acme")
        assert "watchword tenant resume acme" in run("tenant", "suspend", "acme")
        assert tenants() == {"acme": False, "default": True}
        run("tenant", "resume", "acme")
        assert tenants() == {"acme": True, "default": True}
        assert "stays enabled" in run("tenant", "suspend", "default", status=1)
        told = watchword(tmp_path, "tenant", "update", "acme", "--one-api", "--json")
        assert json.loads(told.stdout)["several_apis"] is False
        create = ["app", "create", "x", "--auth", "tls_client_auth", "--dn", "CN=x"]
        assert "no trust anchor" in run(*create, "--anchor", "unknown", status=1)
        narrow = ["app", "create", "narrow", "--grant", "urn:watchword:admin=applications:write,apis:read", "--json"]
        made = json.loads(watchword(tmp_path, *narrow).stdout)
        own = {"WATCHWORD_CLIENT_ID": made["client_id"], "WATCHWORD_CLIENT_SECRET": made["client_secret"]}
        wanted = ["app", "create", "more", "--grant", "urn:watchword:admin=tenants:write"]
        assert "you do not hold: tenants:write" in run(*wanted, status=1, **own)
