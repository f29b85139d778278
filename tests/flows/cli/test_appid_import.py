"""`watchword import appid`: an App ID instance moves over the admin API, and nothing is lost in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.flows.cli.test_command_line import serving, watchword

from watchword.server.registry.secret_text import well_formed

CALLER, PAYMENTS, BROWSER = (f"{n}f16ae5b-06ff-4191-9a67-37a06cb710ad" for n in "123")
SECRET = "YWQyNjdkZjMtMGRhZC00ZWRkLThiOTQtN2E3ODEyZjhkOWQz"
ROLE = "5b5ba1d3-7b0c-4c3c-a2c1-0f2f1e7c9a10"


def application(client_id: str, name: str, **more: str) -> dict[str, str]:
    """As App ID shows one."""
    url = "https://eu-gb.appid.cloud.ibm.com"
    return {
        "clientId": client_id, "tenantId": "t", "name": name, "oAuthServerUrl": f"{url}/oauth/v4/t",
        "profilesUrl": url, "discoveryEndpoint": f"{url}/oauth/v4/t/.well-known/openid-configuration", **more,
    }  # fmt: skip


def exported(**more: Any) -> dict[str, Any]:
    """The GET calls of an instance with a caller whose secret is known, an API, and what only users need."""
    return {
        "/applications": {
            "applications": [
                application(CALLER, "reservations", secret=SECRET, type="regularwebapp"),
                application(PAYMENTS, "payments"),
                application(BROWSER, "browser", type="singlepageapp"),
            ]
        },
        f"/applications/{PAYMENTS}/scopes": {"scopes": ["charge", "refund"]},
        f"/applications/{BROWSER}/scopes": {"scopes": ["look"]},
        f"/applications/{CALLER}/roles": {"roles": [{"id": ROLE, "name": "clerk"}, {"id": "gone", "name": "gone"}]},
        "/roles": {
            "roles": [
                {
                    "id": ROLE,
                    "name": "clerk",
                    "description": "At the desk",
                    "access": [
                        {"application_id": PAYMENTS, "scopes": ["charge", "audit"]},
                        {"application_id": BROWSER, "scopes": ["look"]},
                    ],
                }
            ]
        },
        "/config/tokens": {
            "access": {"expires_in": 600}, "refresh": {"enabled": True, "expires_in": 86_400},
            "anonymousAccess": {"enabled": True, "expires_in": 86_400}, "idTokenClaims": [{"source": "saml"}],
            "accessTokenClaims": [
                {"source": "roles", "destinationClaim": "groups"}, {"source": "saml", "sourceClaim": "dept"},
                {"source": "attributes", "sourceClaim": "groups"},
            ],
        },
        "/config/idps/facebook": {"isActive": False},
        **more,
    }  # fmt: skip


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as url:
        yield url


def run(folder: Path, document: Any, *options: str) -> Any:
    """The command with a file; its process."""
    file = folder / "appid.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return watchword(folder, "import", "appid", str(file), *options)


def token(base: str, secret: str, **form: str) -> httpx.Response:
    """What the moved caller asks, with the secret that it always had."""
    fields = {"grant_type": "client_credentials", **form}
    return httpx.post(f"{base}/oauth/v4/default/token", json=fields, auth=(CALLER, secret))


def applications(folder: Path) -> list[str]:
    """The client ids that the server knows."""
    return [app["client_id"] for app in json.loads(watchword(folder, "app", "list", "--json").stdout)]


def test_an_instance_moves(base: str, tmp_path: Path) -> None:
    """A team would have to hand out new credentials, or find out in production what was left behind."""
    before = applications(tmp_path)
    dry = run(tmp_path, exported(), "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    assert applications(tmp_path) == before
    real = run(tmp_path, exported(), "--json")
    assert real.returncode == 0, real.stderr
    planned, told = json.loads(dry.stdout), json.loads(real.stdout)
    assert (planned["dry_run"], told["dry_run"]) == (True, False)
    assert planned["left"] == told["left"]
    assert [(d["what"], d["name"], d["action"]) for d in told["done"]] == [
        ("application", CALLER, "created"), ("application", PAYMENTS, "created"), ("scopes", PAYMENTS, "set"),
        ("role", "clerk", "created"), ("roles", CALLER, "set"), ("tokens", "config", "set"),
    ]  # fmt: skip
    assert [(d["what"], d["action"]) for d in planned["done"]] == [(d["what"], d["action"]) for d in told["done"]]
    left = "\n".join(told["left"])
    for word in (
        "'browser'", f"/applications/{BROWSER}/scopes", "audit", f"{BROWSER} offers no look", "role gone",
        "refresh tokens", "anonymous", "id tokens", "'dept'", "'groups'", "/config/idps/facebook",
    ):  # fmt: skip
        assert word in left, word
    assert len(told["left"]) == 11

    secrets = {d["name"]: d.get("secret") for d in told["done"] if d["what"] == "application"}
    assert secrets[CALLER] == "as in the file"
    assert secrets[PAYMENTS].startswith("wwsec_")
    assert [d["secret"] for d in planned["done"] if d["what"] == "application"] == ["as in the file", "new"]
    answer = token(base, SECRET, audience=PAYMENTS)
    assert (answer.status_code, answer.json()["scope"], answer.json()["expires_in"]) == (
        200,
        "appid_default charge",
        600,
    )
    assert SECRET not in real.stdout + real.stderr

    again = json.loads(run(tmp_path, exported(), "--json").stdout)
    assert {d["action"] for d in again["done"]} == {"kept"}
    assert token(base, SECRET).status_code == 200


def test_what_exists_is_added_to_and_never_taken_away(base: str, tmp_path: Path) -> None:
    """A second run would undo what was changed here since the first."""
    assert run(tmp_path, exported()).returncode == 0
    more = exported()
    more[f"/applications/{PAYMENTS}/scopes"] = {"scopes": ["audit"]}
    more["/roles"]["roles"][0]["access"] = [{"application_id": PAYMENTS, "scopes": ["audit"]}]
    told = json.loads(run(tmp_path, more, "--json").stdout)
    assert ("scopes", "set") in [(d["what"], d["action"]) for d in told["done"]]
    assert any("exists here with other scopes" in sentence for sentence in told["left"])
    assert token(base, SECRET).json()["scope"] == "appid_default charge"
    apis = json.loads(watchword(tmp_path, "api", "list", "--json").stdout)
    offered = next(api for api in apis if api["identifier"] == PAYMENTS)["scopes"]
    assert [scope["name"] for scope in offered] == ["charge", "refund", "audit"]


def test_a_person_reads_lines(base: str, tmp_path: Path) -> None:
    """The new secret, which is shown nowhere else, or what was left behind would not be seen."""
    ran = run(tmp_path, exported())
    assert ran.returncode == 0, ran.stderr
    line = next(line for line in ran.stdout.splitlines() if PAYMENTS in line)
    secret = line.rpartition("secret: ")[2]
    assert well_formed(secret)
    assert "not carried: application 'browser'" in ran.stderr
    assert "6 changes, 11 things not carried" in ran.stderr


@pytest.mark.parametrize(
    ("document", "word"),
    [
        pytest.param("{", "JSON", id="no JSON"),
        pytest.param("[]", "JSON", id="a list"),
        pytest.param({"/roles": {"roles": []}}, "GET /applications is missing", id="no applications"),
        pytest.param({"/applications": {"applications": [{"name": "x"}]}}, "clientId", id="no client id"),
        pytest.param(exported(**{"/roles": {"roles": [{"id": 1}]}}), "/roles", id="a number as an id"),
        pytest.param(exported(**{"/config/tokens": []}), "/config/tokens", id="a list as a configuration"),
    ],
)
def test_a_file_that_is_none_is_refused_before_anything_changes(
    base: str, tmp_path: Path, document: Any, word: str
) -> None:
    """Half an import, or a trace instead of the line to mend."""
    before = applications(tmp_path)
    ran = run(tmp_path, document)
    assert ran.returncode == 1
    assert word in ran.stderr
    assert "Traceback" not in ran.stderr
    assert applications(tmp_path) == before


def test_a_refusal_in_the_middle_still_shows_new_secrets(base: str, tmp_path: Path) -> None:
    """The application exists, its secret was shown nowhere, and nobody could use it."""
    document = exported()
    document["/applications"]["applications"].insert(0, application("new", "first"))
    document["/applications"]["applications"][2]["name"] = ""
    ran = run(tmp_path, document)
    assert ran.returncode == 1
    assert "wwsec_" in ran.stdout
    assert "(name)" in ran.stderr


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    """A trace for a typing error."""
    ran = watchword(tmp_path, "import", "appid", "nowhere.json")
    assert ran.returncode == 1
    assert "cannot read nowhere.json" in ran.stderr
