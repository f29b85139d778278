"""Public keys for servers that cannot read a JWK set, as files that those servers would take."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.adapters import contract
from tests.flows.cli.test_command_line import serving, watchword

from watchword.jose import KeySet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A served instance with keys of four algorithms."""
    here = tmp_path_factory.mktemp("export")
    with serving(here):
        for algorithm in ("RS256", "PS256", "EdDSA"):
            name = f"https://{algorithm.lower()}.example"
            assert watchword(here, "api", "create", name, "--algorithm", algorithm).returncode == 0
        yield here


def export(folder: Path, *arguments: str) -> str:
    ran = watchword(folder, "key", "export", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def published(folder: Path) -> KeySet:
    return KeySet.parse(export(folder, "--format", "jwks").encode())


def test_jwks_is_what_the_issuer_publishes(folder: Path) -> None:
    """A copy that lacks a key refuses good tokens; one with a private member gives the issuer away."""
    issuer = json.loads((folder / "profile.toml").read_text().splitlines()[0].split(" = ")[1])
    exported = json.loads(export(folder, "--format", "jwks"))["keys"]
    served = httpx.get(f"{issuer}/jwks").json()["keys"]
    assert sorted(exported, key=lambda key: key["kid"]) == sorted(served, key=lambda key: key["kid"])
    assert {key["alg"] for key in exported} == {"ES256", "RS256", "PS256", "EdDSA"}


def test_pem_is_read_by_openssl(folder: Path, tmp_path: Path) -> None:
    """PEM that only we can read is no export."""
    text = export(folder, "--format", "pem")
    blocks = [f"-----BEGIN{block}" for block in text.split("-----BEGIN")[1:]]
    assert len(blocks) == len(published(folder))
    for block in blocks:
        (tmp_path / "key.pem").write_text(block)
        read = ["openssl", "pkey", "-pubin", "-in", str(tmp_path / "key.pem"), "-noout"]
        assert subprocess.run(read, check=False).returncode == 0
    assert "PRIVATE" not in text


def test_jwk_is_one_key(folder: Path) -> None:
    """Several keys in one JWK are none; which one is meant must be said."""
    kid = next(iter(published(folder)))
    assert json.loads(export(folder, "--format", "jwk", "--kid", kid))["kid"] == kid
    several = watchword(folder, "key", "export", "--format", "jwk")
    assert several.returncode == 2
    assert "--kid" in several.stderr
    assert watchword(folder, "key", "export", "--format", "jwk", "--kid", "none").returncode == 1


def test_dovecot_tree(folder: Path, tmp_path: Path) -> None:
    """Dovecot looks for FOLDER/default/ALG/KID and knows no EdDSA: any other place is a token refused."""
    export(folder, "--format", "dovecot", "--out", str(tmp_path / "keys"))
    found = {str(p.relative_to(tmp_path / "keys")) for p in (tmp_path / "keys").rglob("*") if p.is_file()}
    wanted = {
        f"default/{key.algorithm.value}/{kid}": key.to_pem()
        for kid, key in published(folder).items()
        if key.algorithm.value != "EdDSA"
    }
    assert found == {*wanted, ".watchword-keys"}
    assert all((tmp_path / "keys" / name).read_text() == pem for name, pem in wanted.items())
    assert stat.S_IMODE((tmp_path / "keys" / next(iter(wanted))).stat().st_mode) & 0o044


def test_rabbitmq_lines_name_the_files(folder: Path, tmp_path: Path) -> None:
    """RabbitMQ finds a key by the kid in the setting's name; a path that is not there stops its start."""
    lines = export(folder, "--format", "rabbitmq", "--out", str(tmp_path / "keys")).splitlines()
    read = {}
    for line in lines:
        name, path = line.split(" = ")
        assert name.startswith("auth_oauth2.signing_keys.")
        read[name.removeprefix("auth_oauth2.signing_keys.")] = Path(path).read_text()
    assert read == {kid: key.to_pem() for kid, key in published(folder).items()}


def test_a_key_that_is_gone_leaves_the_folder(folder: Path, tmp_path: Path) -> None:
    """After an emergency the withdrawn key's file would go on verifying the thief's tokens."""
    keys = tmp_path / "keys"
    with contract.issuer() as before, contract.issuer() as after:
        for issuer in (before, after):
            export(folder, "--format", "rabbitmq", "--out", str(keys), "--issuer", issuer.url)
        assert [path.name for path in keys.glob("*.pem")] == [f"{after.key.kid}.pem"]


def test_a_folder_of_somebody_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    """`--out /etc` would otherwise be the last command on that machine."""
    (tmp_path / "passwd").write_text("mine")
    refused = watchword(folder, "key", "export", "--format", "dovecot", "--out", str(tmp_path))
    assert refused.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["passwd"]


def test_wrong_use(folder: Path) -> None:
    """Exit codes tell scripts what to do: 2 the command, 1 the world."""
    assert watchword(folder, "key", "export", "--format", "haproxy").returncode == 2
    assert watchword(folder, "key", "export", "--format", "xml").returncode == 2
    away = watchword(folder, "key", "export", "--format", "pem", "--issuer", "http://127.0.0.1:1/t/x")
    assert away.returncode == 1
    assert "Traceback" not in away.stderr
