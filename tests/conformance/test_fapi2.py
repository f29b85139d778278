"""FAPI 2.0 Security Profile, client credentials: the certification suite's server modules, as black-box tests."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance import tls
from tests.conformance.modules import MODULES
from tests.conformance.subject import VARIANTS, Auth, Constrain, Subject, subject
from tests.conformance.suite import Suite
from tests.support.certificates import cn, issue
from tests.support.served import watchword

RUNS = [
    pytest.param(name, auth, constrain, id=f"{name} {auth} {constrain}")
    for name, (_, not_with) in MODULES.items()
    for auth, constrain in VARIANTS
    if not {f"client_auth_type={auth}", f"sender_constrain={constrain}"} & set(not_with)
]


@pytest.fixture(scope="module")
def under_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    with subject(tmp_path_factory.mktemp("fapi2")) as running:
        yield running


@pytest.mark.parametrize(("name", "auth", "constrain"), RUNS)
def test_module(under_test: Subject, name: str, auth: Auth, constrain: Constrain) -> None:
    """A release would fail the certification suite, and nobody would know before it was run there."""
    MODULES[name][0](Suite(under_test, auth, constrain))


def test_the_modules_are_the_suites(shared_dir: Path) -> None:
    """A module that was forgotten, or runs with a variant too few, is one that nobody misses."""
    told = json.loads((shared_dir / "vectors" / "oidf_fapi2_client_credentials.json").read_text())
    assert [(one["name"], tuple(one["not_with"])) for one in told["modules"]] == [
        (name, not_with) for name, (_, not_with) in MODULES.items()
    ]
    assert len(RUNS) == sum(2 if one["not_with"] else 4 for one in told["modules"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_tls_client_can_speak_the_old_versions(tmp_path: Path) -> None:
    """A client that cannot speak TLS 1.1 at all would find that no server does."""
    held = issue(cn("anybody"), 1_800_000_000.0)
    loose = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    loose.load_cert_chain(*held.files(tmp_path, "loose"))
    loose.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    loose.minimum_version = ssl.TLSVersion.TLSv1
    others = ":".join(name for name in tls.offered() if name not in tls.BCP195) + ":@SECLEVEL=0"
    for version, ciphers in (
        (ssl.TLSVersion.TLSv1, "ALL:COMPLEMENTOFALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_1, "ALL:COMPLEMENTOFALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, others),
    ):
        assert _handshake(loose, tls.client(version, version, ciphers))


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Over memory, without a socket."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for side in sides * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return sides[0].version() is not None and sides[1].version() is not None


def test_the_operators_side(under_test: Subject) -> None:
    """A tenant that its operator can no longer manage by the command line would be switched back."""
    folder, (issuer, base) = under_test.folder, (under_test.issuer, under_test.issuer.partition("/t/")[0])
    trusting = {"SSL_CERT_FILE": str(folder / "servers.pem")}
    mine = {
        "WATCHWORD_ISSUER": issuer, "WATCHWORD_CLIENT_ID": under_test.admin_id, **trusting,
        "WATCHWORD_CLIENT_CERTIFICATE_FILE": "admin.pem", "WATCHWORD_CLIENT_KEY_FILE": "admin.key",
    }  # fmt: skip
    listed = watchword(folder, "app", "list", "--json", **mine)
    assert listed.returncode == 0, listed.stderr
    assert {"mtls-dpop-1", "admin"} <= {one["name"] for one in json.loads(listed.stdout)}
    refused = watchword(folder, "app", "create", "with a secret", **mine)
    assert refused.returncode == 1
    assert "client_secret_basic: use one of private_key_jwt" in " ".join(refused.stderr.split())
    default = watchword(folder, "tenant", "update", "default", "--profile", "fapi2", **trusting)
    assert default.returncode == 1
    assert "application administrator" in " ".join(default.stderr.split())
    tenants = watchword(folder, "tenant", "list", "--json", **trusting)
    assert {one["slug"]: one["profile"] for one in json.loads(tenants.stdout)} == {"default": "", "bank": "fapi2"}
    name = "profile fapi2 of tenant bank"
    for settings, good, said in (
        ({"WATCHWORD_PUBLIC_URL": base, "WATCHWORD_CLIENT_CERT_HEADER": "client-cert", "WATCHWORD_TRUSTED_PROXIES": "10.0.0.1"}, True, ""),
        ({"WATCHWORD_PUBLIC_URL": base}, True, "no certificate reaches us"),
        ({"WATCHWORD_CLOCK_TOLERANCE": "5"}, False, "plain HTTP"),
    ):  # fmt: skip
        found = {one["check"]: one for one in json.loads(watchword(folder, "doctor", "--json", **settings).stdout)}
        assert found[name]["good"] is good, found
        assert said in found[name]["advice"] if said else found[name]["advice"] == ""
