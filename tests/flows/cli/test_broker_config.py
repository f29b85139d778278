"""`watchword broker-config` as an operator runs it; that the files work is shown in tests/brokers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.flows.cli.test_command_line import watchword

ISSUER = "https://id.example/t/acme"
DOVECOT = ("dovecot", "--api", "imap://mail.example", "--scope", "mail:read")

POSTGRESQL = ("postgresql", "--validator", "a_validator", "--scope", "db:login")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command."""
    return watchword(folder, "broker-config", *arguments, "--issuer", ISSUER)


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ((*DOVECOT, "--keys", "k"), ["client_id = imap://mail.example", f"issuers = {ISSUER}", "scope = mail:read"]),
        (("rabbitmq",), ["auth_oauth2.resource_server_id = rabbitmq", "peer_verification = verify_peer", "ES256"]),
        (
            (*POSTGRESQL, "--role", "an-id=app"),
            [
                f'hostssl all all all oauth issuer="{ISSUER}" scope="db:login" validator="a_validator" map="watchword"',
                'watchword "an-id" "app"',
                "oauth_validator_libraries = 'a_validator'",
            ],
        ),
        (
            ("kafka", "--api", "urn:kafka"),
            ["BrokerJwtValidator", "expected.audience=urn:kafka", f"expected.issuer={ISSUER}", f"urls={ISSUER}/jwks"],
        ),
    ],
)
def test_printed(arguments: tuple[str, ...], needed: list[str], tmp_path: Path) -> None:
    """Each of these lines closes a door: without it the broker takes a token for another API, or of anybody."""
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert not [line for line in needed if line not in done.stdout]
    assert list(tmp_path.iterdir()) == []


def test_written_with_a_secret(tmp_path: Path) -> None:
    """The file with the client's secret would be readable by all, or be half a file when it is replaced."""
    (tmp_path / "secret").write_text("wwsec_abc\n")
    how = ("--introspect-as", "an-id", "--secret-file", "secret", "--out", "out")
    for _ in range(2):
        assert run(tmp_path, *DOVECOT, *how).returncode == 0
    written = tmp_path / "out" / "watchword-oauth2.conf.ext"
    assert written.stat().st_mode & 0o777 == 0o600
    assert "client_secret = wwsec_abc\n" in written.read_text()
    assert f"args = {written}\n" in (tmp_path / "out" / "10-watchword.conf").read_text()


def test_mosquitto(tmp_path: Path) -> None:
    """Anybody would log in beside the plugin; or nothing would end, because Mosquitto calls no plugin each second. It
    needs no issuer: its judge knows that."""
    done = watchword(tmp_path, "broker-config", "mosquitto", "--plugin", "a.so", "--socket", "judge")
    assert done.returncode == 0, done.stderr
    assert {
        "per_listener_settings false", "allow_anonymous false", f"plugin {tmp_path}/a.so", f"plugin_opt_socket {tmp_path}/judge",
    } <= set(done.stdout.splitlines())  # fmt: skip
    for wrong in (("--plugin", "a.so"), ("--plugin", "a b.so", "--socket", "judge")):
        assert watchword(tmp_path, "broker-config", "mosquitto", *wrong).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (DOVECOT, 2, "--keys"),
        ((*DOVECOT, "--keys", "k", "--introspect-as", "x"), 2, "--keys"),
        ((*DOVECOT, "--introspect-as", "x"), 2, "--secret-file"),
        ((*DOVECOT, "--introspect-as", "x", "--secret-file", "none"), 1, "secret"),
        (("kafka", "--api", "urn:kafka\nsuper.users=User:me"), 2, "cannot stand"),
        (("kafka", "--api", 'urn:"x'), 2, "cannot stand"),
        (("rabbitmq", "--api", ""), 2, "cannot stand"),
        (POSTGRESQL, 2, "--role"),
        ((*POSTGRESQL, "--role", "an-id"), 2, "cannot stand"),
        ((*POSTGRESQL, "--role", "/.*=app"), 2, "one client id"),
        ((*POSTGRESQL, "--role", "an-id=/.*"), 2, "one client id"),
        (("postgresql", "--validator", 'a" trust', "--scope", "x", "--role", "a=b"), 2, "cannot stand"),
        (("mosquitto", "--plugin", "a.so", "--socket", "judge"), 2, "No such option"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], status: int, word: str, tmp_path: Path) -> None:
    """A half configuration would be installed, or a value bring a line of its own into it."""
    done = run(tmp_path, *arguments)
    assert done.returncode == status, done.stdout
    assert word in done.stderr
    assert done.stdout == ""
