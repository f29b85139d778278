"""`watchword device`: from a list to devices that get tokens, and what is told when something is wrong with it."""

from __future__ import annotations

import csv
import io
import json
import stat
from pathlib import Path

import pyrage
import pytest
from tests.support.served import serving, watchword

from watchword.client import ClientCredentials
from watchword.jose import Algorithm, PrivateKey

API = "https://telemetry.example"
GOLDEN = """\
serial,name,group,grants,roles,auth_method,label:site,reason
3,,nowhere,,,,,group: there is no enrolment group 'nowhere'
4,,,https://telemetry.example=a:write,,,,grants: https://telemetry.example offers no scope 'a:write'
5,,,https://other.example=a:read,,,,grants: there is no API 'https://other.example'
6,,,,nobody,,,role_ids: there is no role 'nobody'
7,,,,,password,,"auth_method: use one of client_secret_basic, client_secret_post, private_key_jwt, client_secret_jwt, \
tls_client_auth, self_signed_tls_client_auth, federated_jwt, spiffe_jwt, spiffe_x509"
 8,,,,,,,serial: use 1 to 64 printable characters without leading or trailing space
9,a\u202eb,,,,,,name: use 1 to 200 printable characters without leading or trailing space
"""


def identity(folder: Path) -> tuple[Path, str]:
    """A file as age-keygen writes it, and its recipient."""
    made, file = pyrage.x25519.Identity.generate(), folder / "identity.txt"
    file.write_text(f"# public key: {made.to_public()}\n{made}\n")
    return file, str(made.to_public())


def opened(folder: Path, bundle: str, file: Path) -> dict[str, tuple[str, str]]:
    """Client id and secret by serial number."""
    shown = watchword(folder, "device", "bundle", "open", bundle, "--identity", str(file))
    assert shown.returncode == 0, shown.stderr
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    return {row["serial"]: (row["client_id"], row["client_secret"]) for row in rows}


def test_from_a_list_to_tokens(tmp_path: Path) -> None:
    """What the guide says would not work: secrets lost, readable by others, or different when the same list comes again."""
    file, recipient = identity(tmp_path)
    key = json.dumps(PrivateKey.generate(Algorithm.ES256).public.to_jwk())
    rows = [["serial", "name", "grants", "jwk", "label:site"]]
    rows += [[f"{n}", f"sensor {n}", f"{API}=a:read", "", "eu"] for n in range(1_200)]
    rows += [["k", "", f"{API}=a:read", key, ""]]
    with (tmp_path / "list.csv").open("w", newline="") as listed:
        csv.writer(listed).writerows(rows)
    command = "device", "import", "list.csv"
    into = "--bundle", "bundle", "--recipient", recipient
    with serving(tmp_path) as base:
        assert watchword(tmp_path, "api", "create", API, "--scope", "a:read").returncode == 0
        refused = watchword(tmp_path, *command)
        assert refused.returncode == 2
        assert "1200 devices need a secret, the first in line 2" in refused.stderr
        looked = json.loads(watchword(tmp_path, *command, "--dry-run", "--json").stdout)
        assert (looked["created"], looked["exists"]) == (1201, 0)
        made = watchword(tmp_path, *command, *into, "--json")
        assert made.returncode == 0, made.stderr
        said = {"created": 1201, "exists": 0, "differs": 0, "refused": 0, "bundle": "bundle"}
        assert json.loads(made.stdout) == said
        known = opened(tmp_path, "bundle", file)
        assert len(known) == 1200
        pair = ClientCredentials(f"{base}/t/default", *known["1199"])
        assert pair.token().scope == "a:read"
        assert "is complete" in watchword(tmp_path, *command, *into).stderr
        again = watchword(tmp_path, *command, "--bundle", "second", "--recipient", recipient, "--json")
        assert json.loads(again.stdout)["exists"] == 1201
    files = sorted((tmp_path / "bundle").iterdir())
    assert [found.name for found in files] == ["000001.csv.age", "000002.csv.age", "000003.csv.age"]
    modes = [stat.S_IMODE(found.stat().st_mode) for found in (tmp_path / "bundle", *files)]
    assert modes == [0o700, 0o600, 0o600, 0o600]
    assert not any(known["7"][1].encode() in found.read_bytes() for found in files)
    other = tmp_path / "other"
    other.mkdir()
    wrong = watchword(tmp_path, "device", "bundle", "open", "bundle", "--identity", str(identity(other)[0]))
    assert wrong.returncode == 1
    assert "cannot open" in wrong.stderr


def test_refused_rows_can_be_mended_and_sent_again(tmp_path: Path) -> None:
    """Whoever has a thousand rows would not learn which of them are wrong, or why, or register the others twice."""
    _, recipient = identity(tmp_path)
    header, *refused = [*csv.reader(io.StringIO(GOLDEN))]
    good = [["1", "", "", f"{API}=a:read", "", "", "eu"], ["2", *[""] * 6]]
    with (tmp_path / "list.csv").open("w", newline="") as listed:
        csv.writer(listed).writerows([header[:-1], good[0], *(row[:-1] for row in refused), good[1]])
    into = "--bundle", "bundle", "--recipient", recipient, "--report", "refused.csv", "--json"
    with serving(tmp_path):
        assert watchword(tmp_path, "api", "create", API, "--scope", "a:read").returncode == 0
        made = watchword(tmp_path, "device", "import", "list.csv", *into)
        assert made.returncode == 1
        assert json.loads(made.stdout) == {
            "created": 2, "exists": 0, "differs": 0, "refused": 7, "bundle": "bundle",
        }  # fmt: skip
        assert (tmp_path / "refused.csv").read_text() == GOLDEN
        once_more = watchword(tmp_path, "device", "import", "refused.csv", "--dry-run", "--json")
        assert json.loads(once_more.stdout)["refused"] == 7


MISTAKES = {
    "column": ("serial,colour\n1,red\n", "line 1: there is no column 'colour'"),
    "no serial": ("name\n1\n", "one of them is serial"),
    "twice": ("serial,serial\n1,1\n", "twice"),
    "cells": ("serial,name\n1\n2,a\n", "line 2: 1 cells, and there are 2 columns"),
    "duplicate": ("serial\n1\n2\n\n1\n", "line 5: the serial number of line 2"),
    "quote": ('serial\n1\n"2\n', "line 3: no CSV"),
    "grants": ("serial,grants\n1,a:read\n", "line 2: grants 'a:read'"),
    "jwk": ("serial,jwk\n1,{\n", "line 2: jwk is not JSON"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_file_with_mistakes_is_sent_to_nobody(tmp_path: Path, name: str) -> None:
    """Half of a broken list would be registered before somebody sees that it is broken."""
    text, told = MISTAKES[name]
    (tmp_path / "list.csv").write_text(text)
    made = watchword(tmp_path, "device", "import", "list.csv", "--dry-run")  # no server is there to be asked
    assert made.returncode == 1
    assert told in made.stderr


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    """A name would be registered as something else than it is."""
    (tmp_path / "list.csv").write_bytes("serial,name\n1,a\n2,ä\n".encode("latin-1"))
    made = watchword(tmp_path, "device", "import", "list.csv", "--dry-run")
    assert made.returncode == 1
    assert "line 3: not UTF-8" in made.stderr
