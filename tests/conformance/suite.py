"""One run of the suite: a way to authenticate, a way to bind tokens, and the steps that its modules share.

The steps, their order and what passes are those of the OpenID Foundation's conformance suite at the commit that
`vectors/oidf_fapi2_client_credentials.json` names, read there and written anew here. Nothing here certifies anything.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from tests.conformance.subject import Auth, Client, Constrain, Subject, fresh
from tests.support.assertions import TYPE, compose
from tests.support.proofs import proof_of

_DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")
"""RFC 6749 section 5.2."""
CLIENT_OR_REQUEST = {"invalid_client": {400, 401}, "invalid_request": {400}}


class Suite:
    """A subject and a variant. `client` is the one that acts now: the first, until a module changes it."""

    def __init__(self, subject: Subject, auth: Auth, constrain: Constrain) -> None:
        self.subject, self.auth, self.constrain = subject, auth, constrain
        self.first, self.second = subject.clients[auth, constrain]
        self.client = self.first
        self.token_url = f"{subject.issuer}/token"

    # -- requests --------------------------------------------------------------------------------

    def metadata(self) -> dict[str, Any]:
        """RFC 8414, at the well-known place of an issuer with a path."""
        host, path = self.subject.issuer.split("/t/")
        with httpx.Client(verify=self.subject.plain) as http:
            answer = http.get(f"{host}/.well-known/oauth-authorization-server/t/{path}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/json")
        return dict(answer.json())

    def authentication(self, **changed: Any) -> dict[str, str]:
        """The form's part; the certificate is the connection's."""
        if self.auth == "mtls":
            return {"client_id": self.client.client_id}
        return self.assertion(self.client, **changed)

    def assertion(self, by: Client, header: dict[str, Any] | None = None, **changed: Any) -> dict[str, str]:
        """A right one but for what is said; a claim of None is left out."""
        now = int(time.time())
        right = {
            "iss": by.client_id, "sub": by.client_id, "aud": self.subject.issuer, "iat": now, "exp": now + 60,
            "jti": fresh(),
        }  # fmt: skip
        claims = {name: value for name, value in {**right, **changed}.items() if value is not None}
        head = header or {"alg": by.key.algorithm.value, "kid": by.key.kid}
        signed = compose(head, json.dumps(claims).encode(), by.key.sign)
        return {"client_assertion_type": TYPE, "client_assertion": signed}

    def proof(self, url: str, token: str | None = None, **changed: Any) -> str:
        """A DPoP proof by the acting client's key."""
        method = "POST" if token is None else "GET"
        key = changed.pop("key", self.client.dpop)
        return proof_of(key, url, time.time(), method=method, token=token, **changed)

    def ask(
        self, form: dict[str, str] | None = None, *, bound: bool = True, certificate: bool = True, **proof: Any
    ) -> httpx.Response:
        """The token endpoint; `bound` is False without the means to bind a token."""
        given = self.authentication() if form is None else form
        headers = {"dpop": self.proof(self.token_url, **proof)} if bound and self.constrain == "dpop" else {}
        shows = certificate and (self.auth == "mtls" or self.constrain == "mtls")
        with httpx.Client(verify=self.client.context if shows else self.subject.plain) as http:
            return http.post(self.token_url, data={"grant_type": "client_credentials", **given}, headers=headers)

    def call(self, token: str, *proofs: str, scheme: str = "", query: str = "", **headers: str) -> httpx.Response:
        """The resource; with a right proof unless others are given."""
        scheme = scheme or ("DPoP" if self.constrain == "dpop" else "Bearer")
        url = self.subject.api + query
        shown = proofs or ((self.proof(url, token),) if self.constrain == "dpop" else ())
        name = headers.pop("proof_header", "DPoP")
        fields = [
            ("authorization", f"{scheme} {token}"),
            *((name, proof) for proof in shown if proof),
            *headers.items(),
        ]
        with httpx.Client(verify=self.client.context if self.constrain == "mtls" else self.subject.plain) as http:
            return http.get(url, headers=fields)

    # -- what is checked -------------------------------------------------------------------------

    def token_of(self, answer: httpx.Response) -> str:
        """What the suite looks at in a successful answer, in its order."""
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert "error" not in said
        assert isinstance(said["access_token"], str)
        assert type(said["expires_in"]) is int
        assert 0 < said["expires_in"] <= 600
        assert "refresh_token" not in said
        token: str = said["access_token"]
        assert len(token) >= 22
        counted = Counter(token).values()
        entropy = -sum(n / len(token) * math.log2(n / len(token)) for n in counted) * len(token)
        assert entropy >= 96
        assert "id_token" not in said
        assert said["token_type"] == ("DPoP" if self.constrain == "dpop" else "Bearer")
        assert said["scope"] == "a:read"
        assert answer.headers["cache-control"] == "no-store"
        return token

    def token(self, **proof: Any) -> str:
        """A fresh one."""
        return self.token_of(self.ask(**proof))

    def no(self, answer: httpx.Response, *errors: dict[str, set[int]]) -> None:
        """A well-formed refusal (RFC 6749 section 5.2) with one of these errors and its statuses."""
        allowed = {error: statuses for group in errors for error, statuses in group.items()}
        assert answer.headers["content-type"].startswith("application/json")
        said = answer.json()
        assert answer.status_code in allowed[said["error"]], answer.text
        assert _DESCRIPTION.fullmatch(said.get("error_description", "none"))
        assert re.fullmatch(r"\S+", said.get("error_uri", "none"))
        assert "access_token" not in said

    def yes(self, answer: httpx.Response) -> None:
        """The resource answers, and as HTTP asks."""
        assert answer.status_code == 200, (answer.status_code, answer.headers)
        parsedate_to_datetime(answer.headers["date"])
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == []

    def credentials_flow(self) -> str:
        """A token, and the resource with it."""
        token = self.token()
        self.yes(self.call(token))
        return token
