"""Client libraries that others wrote, unchanged, each in a process of its own against `watchword serve`.

A peer prints one JSON object: the token it got, and in its own words what it raised for a wrong secret and
for a scope that is not granted.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.interop.conftest import AUDIENCE, SCOPE
from tests.support import npm
from tests.support.served import Registered

from watchword.resource import Verifier

HERE = Path(__file__).parent
BOTH = ("client_secret_basic", "client_secret_post")


def run(server: Registered, method: str, *command: str) -> dict[str, Any]:
    """What the peer told."""
    more = {"AUTH_METHOD": method, "OAUTHLIB_INSECURE_TRANSPORT": "1"}
    environment = {**server.environment(method), **more}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))


def judge(server: Registered, told: dict[str, Any], method: str) -> None:
    """Our own verifier takes the token, for this caller and this scope."""
    claims = Verifier(server.issuer, audience=AUDIENCE).verify(told["token"], scope=SCOPE)
    assert claims.client_id == server.credentials[method][0]
    assert claims.scopes == {SCOPE}


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_authlib(server: Registered, kind: str, method: str) -> None:
    """Whoever calls with Authlib would get no token, or an error that is not OAuthError and is not handled."""
    told = run(server, method, sys.executable, str(HERE / "authlib" / "caller.py"), kind)
    judge(server, told, method)
    assert told["wrong_secret"] == "OAuthError invalid_client"
    assert told["scope_refused"] == "OAuthError invalid_scope"


@pytest.mark.parametrize("method", BOTH)
def test_requests_oauthlib(server: Registered, method: str) -> None:
    """oauthlib picks its error class by our error code: a wrong code would surface as a missing token."""
    told = run(server, method, sys.executable, str(HERE / "requests_oauthlib" / "caller.py"))
    judge(server, told, method)
    assert told["wrong_secret"] == "InvalidClientError invalid_client"
    assert told["scope_refused"] == "InvalidScopeError invalid_scope"


@pytest.fixture(scope="session")
def openid_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return npm.install(HERE / "openid_client", tmp_path_factory.mktemp("npm"))


@pytest.mark.parametrize("method", BOTH)
def test_openid_client(server: Registered, openid_client: Path, method: str) -> None:
    """It percent-encodes Basic credentials (RFC 6749 section 2.3.1) and is strict about metadata and challenges."""
    told = run(server, method, "node", str(openid_client / "caller.js"))
    judge(server, told, method)
    assert told["introspected"] == [True, SCOPE]
    assert told["revoked"] == {"active": False}
    assert told["scope_refused"] == "ResponseBodyError invalid_scope"
    if method == "client_secret_basic":
        # Our 401 carries a challenge then, and the library reports the challenge before the body.
        assert told["wrong_secret"].startswith("WWWAuthenticateChallengeError")
    else:
        assert told["wrong_secret"] == "ResponseBodyError invalid_client"


def test_curl(server: Registered) -> None:
    """A shell script would see no token, or exit 0 with a refusal in its variable."""
    assert shutil.which("curl"), "no curl: run `.ci/prepare servers`"
    told = run(server, "client_secret_basic", "sh", str(HERE / "curl" / "caller.sh"))
    judge(server, told, "client_secret_basic")
    assert told["wrong_secret"] == "exit 22 invalid_client"
    assert told["scope_refused"] == "exit 22 invalid_scope"
