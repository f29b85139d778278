"""Authenticate with a token of the platform: Kubernetes, GitHub, GitLab, SPIFFE (RFC 7523). No secret is needed."""

from __future__ import annotations

import hmac
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchword.client.errors import SecretMissing
from watchword.client.private_key_jwt import ASSERTION_TYPE
from watchword.client.proof import Proven
from watchword.client.secret import Secret
from watchword.client.sources import SecretSource, from_environment, from_file
from watchword.client.wire import may_use_proxy

if TYPE_CHECKING:
    import httpx

SPIFFE_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
"""draft-ietf-oauth-spiffe-client-auth-01."""
KUBERNETES_FILE: Final = "/var/run/secrets/tokens/watchword"
"""The path of the token in the projected volume of docs/secretless.md."""
BIGGEST_ANSWER: Final = 65_536


class PlatformToken:
    """For ``ClientCredentials(issuer, client_id, PlatformToken(from_kubernetes()))``.

    Args:
        source: a function that returns the platform's token as a `Secret`. It is called for each token request, so
            that a token that the platform renews is used from then on.
        spiffe: the token is a JWT-SVID.
    """

    timed = False

    def __init__(self, source: SecretSource, *, spiffe: bool = False) -> None:
        self._source, self._type = source, SPIFFE_TYPE if spiffe else ASSERTION_TYPE

    def __repr__(self) -> str:
        return "PlatformToken(...)"

    def prove(self, client_id: str, issuer: str, now: float) -> Proven:
        """See `Proof.prove`. Raises `SecretMissing`."""
        token = self._source().reveal()
        return Proven(
            form=(("client_id", client_id), ("client_assertion_type", self._type), ("client_assertion", token))
        )

    def mac(self, message: bytes) -> bytes:
        """See `Proof.mac`: a token on disk is found until the platform renews its own token."""
        return hmac.digest(self._source().reveal().encode(), message, "sha256")


def from_kubernetes(path: str | os.PathLike[str] = KUBERNETES_FILE) -> SecretSource:
    """The service account's token in a projected volume (``serviceAccountToken``), which the kubelet renews."""
    return from_file(Path(path))


def from_gitlab(name: str = "WATCHWORD_ID_TOKEN") -> SecretSource:
    """A variable of the job's ``id_tokens:``, whose ``aud`` is our issuer."""
    return from_environment(name)


def from_github_actions(
    audience: str, *, timeout: float = 10.0, transport: httpx.BaseTransport | None = None
) -> SecretSource:
    """A new token of the workflow for each request, addressed to ``audience``: our issuer.

    The job needs ``permissions: id-token: write``. Asks GitHub's runner, so it blocks for as long as that takes.
    """

    def read() -> Secret:
        url, bearer = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"), os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        if not url or not bearer:
            raise SecretMissing("this is no GitHub job that may have tokens: give it permissions: id-token: write")
        return Secret(_asked(url, bearer, audience, timeout, transport))

    return read


def _asked(url: str, bearer: str, audience: str, timeout: float, transport: httpx.BaseTransport | None) -> str:
    import httpx

    try:
        with httpx.Client(
            timeout=timeout,
            transport=transport,
            follow_redirects=False,
            verify=httpx.create_ssl_context(),  # with SSL_CERT_FILE, which `trust_env=False` would leave out
            trust_env=may_use_proxy(url),
        ) as client:
            address = httpx.URL(url).copy_merge_params({"audience": audience})
            answer = client.get(address, headers={"authorization": f"Bearer {bearer}"})
        value = json.loads(answer.content[:BIGGEST_ANSWER])["value"] if answer.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise SecretMissing(f"GitHub gave no token ({type(error).__name__})") from None
    if not isinstance(value, str) or not value:
        raise SecretMissing(f"GitHub gave no token (status {answer.status_code})")
    return value
