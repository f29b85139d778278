"""`watchword inspect`, rule by rule: a real process, and an issuer whose key the test holds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.served import watchword

from watchword.jose import Algorithm, KeySet, PrivateKey, Signer
from watchword.jose.cose_signing import CwtSigner
from watchword.jose.cwt import cwt_text

KEY, STRANGER = PrivateKey.generate(Algorithm.ES256), PrivateKey.generate(Algorithm.ES256)
API = "https://payments.example"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Metadata and keys on loopback, as any issuer publishes them."""

    class Published(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = {"issuer": base, "jwks_uri": f"{base}/jwks"} if ".well-known" in self.path else keys
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            pass

    keys = KeySet([KEY.public]).to_jwks()
    with ThreadingHTTPServer(("127.0.0.1", 0), Published) as server:
        base = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield base
        server.shutdown()


def made(issuer: str, *, key: PrivateKey = KEY, typ: str | None = "at+jwt", **changes: Any) -> str:
    """A good token but for the changes; None leaves a claim out."""
    now = int(time.time())
    whole = {
        "iss": issuer,
        "aud": API,
        "exp": now + 300,
        "iat": now,
        "sub": "a",
        "client_id": "a",
        "scope": "a:read",
        "jti": "1",
    }
    claims = {name: value for name, value in {**whole, **changes}.items() if value is not None}
    return Signer(key, typ).sign(json.dumps(claims).encode())


def forged(token: str) -> str:
    """The same header and signature over other claims."""
    header, _, signature = token.split(".")
    return f"{header}.{made('https://evil.example').split('.')[1]}.{signature}"


def told(folder: Path, issuer: str, token: str, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON, and what a person reads."""
    ran = watchword(folder, "inspect", token, "--json", *options, WATCHWORD_ISSUER=issuer)
    return ran.returncode, json.loads(ran.stdout), ran.stderr


def test_a_good_token_is_accepted(tmp_path: Path, issuer: str) -> None:
    """An operator would look for a fault where there is none, and a script would not see exit 0."""
    code, said, _ = told(tmp_path, issuer, made(issuer), "--audience", API, "--scope", "a:read")
    assert code == 0
    assert (said["accepted"], said["rule"], said["why"]) == (True, None, None)
    assert said["judged_as"] == {"issuer": issuer, "audience": API}


def refused(issuer: str) -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Per rule: the token, the options, and words that the explanation must hold."""
    now = int(time.time())
    return {
        "shape": ("opaque-token", (), ("three parts", "introspection")),
        "signature": (forged(made(issuer)), (), ("signature does not fit", "altered")),
        "kid": (made("https://o.example", key=STRANGER), (), (STRANGER.kid, issuer, "https://o.example", "key list")),
        "typ": (made(issuer, typ="JWT"), (), ("at+jwt", "'JWT'", "--type")),
        "header": (Signer(KEY, header={"crit": ["x"]}).sign(b"{}"), ("--audience", API), ("crit",)),
        "iss": (made("https://other.example"), (), ("https://other.example", issuer)),
        "aud": (made(issuer), ("--audience", "https://seats.example"), (API, "https://seats.example")),
        "exp": (made(issuer, exp=now - 7200), (), ("expired 72", "s ago", "clocks")),
        "nbf": (made(issuer, nbf=now + 7200), (), ("ahead", "clocks")),
        "iat": (made(issuer, iat=now + 7200), (), ("ahead", "clocks")),
        "scope": (made(issuer), ("--scope", "a:write"), ("a:write", "a:read", "app grant")),
        "cnf": (made(issuer, cnf={"jkt": "x"}), (), ("bound to a key",)),
        "claims": (made(issuer, client_id=None), (), ("client_id",)),
        "keys": (made("http://127.0.0.1:1"), ("--issuer", "http://127.0.0.1:1"), ("cannot be judged", "reach")),
    }


@pytest.mark.parametrize("rule", refused(""))
def test_the_rule_is_named(tmp_path: Path, issuer: str, rule: str) -> None:
    """Whoever is on call at night would learn that a token is bad, and not why, nor what to do."""
    token, options, words = refused(issuer)[rule]
    code, said, text = told(tmp_path, issuer, token, *options)
    assert code == 1
    assert said["accepted"] is False
    assert said["rule"] == rule
    assert said["why"] in text
    assert not [word for word in words if word not in text], text


def test_an_issuer_that_cannot_be_one(tmp_path: Path, issuer: str) -> None:
    """A token that names plain http elsewhere would have its keys fetched in the open, or end in a trace."""
    code, said, text = told(tmp_path, issuer, made(issuer), "--issuer", "http://id.example")
    assert (code, said["rule"]) == (1, "iss")
    assert "https" in text
    assert "Traceback" not in text


def test_a_token_cannot_write_on_the_terminal(tmp_path: Path, issuer: str) -> None:
    """Colours, links or a crash, chosen by whoever made the token that an operator looks at."""
    ran = watchword(tmp_path, "inspect", made("[/red]\x1b[2J"), WATCHWORD_ISSUER=issuer)
    assert ran.returncode == 1
    assert "iss: issuer is '[/red]" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr


def test_another_type_on_request(tmp_path: Path, issuer: str) -> None:
    """Tokens of an API that asks for `JWT` could not be inspected at all."""
    code, said, _ = told(tmp_path, issuer, made(issuer, typ="JWT"), "--type", "JWT")
    assert (code, said["rule"]) == (0, None)


def test_without_an_issuer_of_ours_the_tokens_own_is_named(tmp_path: Path, issuer: str) -> None:
    """A laptop without a profile could inspect nothing; and a verdict must say whom it took for the issuer."""
    ran = watchword(tmp_path, "inspect", made(issuer), "--json")
    assert (ran.returncode, json.loads(ran.stdout)["judged_as"]["issuer"]) == (0, issuer)


def test_wrong_use_is_2(tmp_path: Path) -> None:
    """A script could not tell a typing mistake from a refused token."""
    assert watchword(tmp_path, "inspect").returncode == 2
    assert watchword(tmp_path, "inspect", "x.y.z", "--audiense", "x").returncode == 2


def cwt(issuer: str, *, key: PrivateKey = KEY, **changes: Any) -> str:
    """A good CWT but for the changes."""
    now = int(time.time())
    whole = {
        "iss": issuer,
        "aud": API,
        "exp": now + 300,
        "jti": "ab" * 16,
        "sub": "a",
        "client_id": "a",
        "scope": "a:read",
    }
    return cwt_text(CwtSigner(key).sign({**whole, **changes}))


def test_a_cwt_is_explained(tmp_path: Path, issuer: str) -> None:
    """Without it the token of a small device is a line of base64url to whoever has to find out why it is refused."""
    code, found, _ = told(tmp_path, issuer, cwt(issuer), "--audience", API)
    assert (code, found["accepted"]) == (0, True)
    assert found["header"] == {"alg": "ES256", "kid": KEY.kid[:8], "typ": 61}
    assert (found["claims"]["jti"], found["claims"]["scope"]) == ("ab" * 16, "a:read")
    expired = cwt(issuer, exp=int(time.time()) - 5)
    assert told(tmp_path, issuer, expired, "--audience", API)[1]["rule"] == "exp"
    assert told(tmp_path, issuer, cwt(issuer, key=STRANGER), "--audience", API)[1]["rule"] == "kid"
    assert told(tmp_path, issuer, cwt(issuer)[:-8] + "AAAAAAAA", "--audience", API)[1]["rule"] == "signature"
    assert told(tmp_path, issuer, cwt(issuer), "--audience", "https://other.example")[1]["rule"] == "aud"
