"""Enrolment from the command line: the operator's side and the device's, against `watchword serve`, also over mutual TLS."""

from __future__ import annotations

import json
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import authority, idevid
from tests.support.served import serving, serving_tls, watchword

API = "https://telemetry.example"
GRANT = ("--grant", f"{API}=telemetry:write")


def ran(folder: Path, *arguments: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """One command that ends as it should."""
    done = watchword(folder, *arguments, **more)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done


def told(folder: Path, *arguments: str, **more: str) -> Any:
    """What a command says with --json."""
    return json.loads(ran(folder, *arguments, "--json", **more).stdout)


def token(folder: Path, file: str, **more: str) -> str:
    """As the device, with what was written for it."""
    place = {"WATCHWORD_PROFILE": str(folder / file), **more}
    return ran(folder, "token", "--no-cache", "--resource", API, **place).stdout


def mode(place: Path) -> int:
    """Its permissions."""
    return stat.S_IMODE(place.stat().st_mode)


def test_a_device_and_its_operator(tmp_path: Path) -> None:
    """What the pages say would not work; or a secret lie where others read it, or be lost by a second run."""
    with serving(tmp_path) as base:
        issuer = f"{base}/t/default"
        ran(tmp_path, "api", "create", API, "--scope", "telemetry:write")
        ran(
            tmp_path,
            "enrolment",
            "create",
            "sensors",
            *GRANT,
            "--way",
            "code",
            "--way",
            "key",
            "--name-pattern",
            "s-{serial}",
        )
        codes = told(tmp_path, "enrolment", "codes", "sensors", "--count", "2")["codes"]
        (tmp_path / "code").write_text(codes[0] + "\n")
        enrol = ("enrol", "--issuer", issuer, "--file")
        made = told(tmp_path, *enrol, "one.toml", "--code-file", "code", "--serial", "1")
        assert made["client_name"] == "s-1"
        assert mode(tmp_path / "one.toml") == 0o600
        assert not (tmp_path / "one.toml.enrolling").exists()
        assert token(tmp_path, "one.toml")
        ran(tmp_path, *enrol, "one.toml", "--code-file", "code", code=1)
        keyed = ("--key", "two.key", "--serial", "2")
        two = told(tmp_path, *enrol, "two.toml", *keyed, WATCHWORD_ENROLMENT_CODE=codes[1])
        assert (two["auth_method"], mode(tmp_path / "two.key")) == ("private_key_jwt", 0o600)
        assert "secret" not in (tmp_path / "two.toml").read_text()
        assert token(tmp_path, "two.toml")
        ran(tmp_path, *enrol, "three.toml", "--code", codes[0], "--serial", "3", code=1)
        ran(tmp_path, *enrol, "three.toml", "--cert", "x.pem", "--code", "x", code=2)
        ran(tmp_path, *enrol, "three.toml", "--group", "sensors", code=2)
        ran(tmp_path, *enrol, "four.toml", "--key", "four.key", code=1)  # nobody expects it
        from watchword.jose import PrivateKey

        key = PrivateKey.from_pem((tmp_path / "four.key").read_bytes())
        (tmp_path / "list.csv").write_text(f"serial,thumbprint\n4,{key.public.thumbprint()}\n5,\n4,\n")
        listed = watchword(tmp_path, "enrolment", "expect", "sensors", "list.csv", "--json")
        assert (listed.returncode, json.loads(listed.stdout)) == (
            1,
            {"added": 2, "exists": 0, "enrolled": 0, "refused": 1},
        )
        assert "line 4" in listed.stderr
        assert told(tmp_path, *enrol, "four.toml", "--key", "four.key")["client_name"] == "s-4"
        assert [one["entry"] for one in told(tmp_path, "enrolment", "expected", "sensors")] == ["serial:5"]
        ran(tmp_path, "enrolment", "unexpect", "sensors", "--serial", "5")
        ran(tmp_path, "enrolment", "unexpect", "sensors", code=2)
        for wrong in ("x,y\n1,2\n", "serial,jwk\n1,no json\n", "serial,jwk\n1\n", ""):
            (tmp_path / "bad.csv").write_text(wrong)
            ran(tmp_path, "enrolment", "expect", "sensors", "bad.csv", code=1)


def test_a_device_that_waits(tmp_path: Path) -> None:
    """A device would begin anew each time, and its administrator approve one that never comes."""
    with serving(tmp_path) as base:
        ran(tmp_path, "api", "create", API, "--scope", "telemetry:write")
        ran(tmp_path, "enrolment", "create", "doors", *GRANT, "--approval", "required")
        codes = told(tmp_path, "enrolment", "codes", "doors", "--count", "2")["codes"]
        first = ("enrol", "--issuer", f"{base}/t/default", "--file", "one.toml", "--code", codes[0])
        ran(tmp_path, *first, code=75)
        assert mode(tmp_path / "one.toml.enrolling") == 0o600
        ran(tmp_path, *first, code=75)
        (one,) = told(tmp_path, "enrolment", "pending", "doors")
        ran(tmp_path, "enrolment", "approve", one["pending_id"])
        assert told(tmp_path, *first)["client_id"]
        assert token(tmp_path, "one.toml")
        second = ("enrol", "--issuer", f"{base}/t/default", "--file", "two.toml", "--code", codes[1])
        ran(tmp_path, *second, code=75)
        (two,) = told(tmp_path, "enrolment", "pending")
        ran(tmp_path, "enrolment", "deny", two["pending_id"])
        assert "access_denied" in ran(tmp_path, *second, code=1).stderr
        assert len(told(tmp_path, "enrolment", "pending", "--state", "denied")) == 1


def test_certificates_over_our_own_listener(tmp_path: Path) -> None:
    """The certificate of a TLS handshake would let nobody in, or a device be locked out when its own one ends."""
    maker = authority("maker", time.time())
    meter = idevid("M-1", time.time(), maker)
    meter.files(tmp_path, "meter")
    (tmp_path / "maker.pem").write_text(maker.pem)
    (tmp_path / "clients.pem").write_text(maker.pem)
    trust = {"SSL_CERT_FILE": str(tmp_path / "dev-tls" / "ca.pem")}
    with serving_tls(tmp_path, "first", "--client-ca", "clients.pem"):
        ran(tmp_path, "api", "create", API, "--scope", "telemetry:write", **trust)
        said = (
            "--way",
            "certificate",
            "--anchors",
            "maker.pem",
            "--auth",
            "tls_client_auth",
            "--auth",
            "client_secret_basic",
        )
        ran(tmp_path, "enrolment", "create", "meters", *GRANT, *said, "--certificate-lifetime", "90d", **trust)
        ran(tmp_path, "enrolment", "ca", "rotate", **trust)
        shown = ran(tmp_path, "enrolment", "ca", "show", **trust).stdout
        assert len(told(tmp_path, "enrolment", "ca", "list", **trust)) == 1
    (tmp_path / "clients.pem").write_text(maker.pem + shown)
    with serving_tls(tmp_path, "second", "--client-ca", "clients.pem") as base:
        port = base.rpartition(":")[2]
        profile = tmp_path / "profile.toml"
        issuer = f"https://127.0.0.1:{port}/t/default"
        profile.write_text(
            "\n".join(
                f'issuer = "{issuer}"' if line.startswith("issuer") else line
                for line in profile.read_text().splitlines()
            )
        )
        claim = ("--group", "meters", "--claim-cert", "meter.pem", "--claim-key", "meter.key")
        first = ("enrol", "--issuer", issuer, "--file", "one.toml", *claim, "--key", "one.key", "--cert", "one.pem")
        made = told(tmp_path, *first, **trust)
        assert made["auth_method"] == "tls_client_auth"
        assert token(tmp_path, "one.toml", **trust)
        before = (tmp_path / "one.pem").read_text()
        again = told(tmp_path, "enrol", "--renew", "--file", "one.toml", **trust)
        assert again["client_id"] == made["client_id"]
        assert (tmp_path / "one.pem").read_text() != before
        assert token(tmp_path, "one.toml", **trust)
        ran(tmp_path, "app", "disable", made["client_id"], **trust)
        ran(tmp_path, "enrol", "--renew", "--file", "one.toml", code=1, **trust)


@pytest.mark.parametrize("written", ["no json", "{}", "[]"])
def test_a_state_file_that_is_not_ours(tmp_path: Path, written: str) -> None:
    """The device would become another one in silence, and use another code up."""
    (tmp_path / "one.toml.enrolling").write_text(written)
    done = watchword(tmp_path, "enrol", "--issuer", "https://127.0.0.1:1/t/x", "--file", "one.toml", "--code", "x")
    assert done.returncode == 1
    assert "one.toml.enrolling" in done.stderr
