"""Choose the credential that is configured: by environment variables, or by the same fields of a profile.

The first one in the order of `FIELDS` that is set is used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from watchword.client.client_certificate import ClientCertificate
from watchword.client.platform_token import PlatformToken, from_github_actions, from_gitlab, from_kubernetes
from watchword.client.private_key_jwt import PrivateKeyJwt
from watchword.client.proof import Proof
from watchword.client.secret import Secret
from watchword.client.sources import SYSTEMD_NAME, SecretSource, from_file

FIELDS: Final = (
    "client_certificate_file", "client_key_file", "client_key_id", "platform", "platform_token_file",
    "client_secret_file", "client_secret",
)  # fmt: skip
"""``WATCHWORD_`` and the name in capitals, in the environment."""
PLATFORMS: Final = ("kubernetes", "github", "gitlab", "spiffe")


def in_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The fields that are set. With none of them, systemd's credential counts as ``client_secret_file``.

    A ``client_key_id`` without a key is ignored: it must not hide another credential.
    """
    found = {name: value for name in FIELDS if (value := environment.get(f"WATCHWORD_{name.upper()}"))}
    if found.keys() == {"client_key_id"}:
        found = {}
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not found and folder and Path(folder, SYSTEMD_NAME).exists():
        found["client_secret_file"] = str(Path(folder, SYSTEMD_NAME))
    return found


def proof_of(given: Mapping[str, str], issuer: str) -> SecretSource | Proof | None:
    """The third argument of `ClientCredentials`; None if no credential is configured.

    Args:
        given: those of `FIELDS` that are set.
        issuer: the audience of a GitHub token.

    Raises:
        ValueError: an unknown platform, or one that needs a file.
    """
    key_file = given.get("client_key_file", "")
    if certificate := given.get("client_certificate_file"):
        return ClientCertificate(certificate, key_file or certificate)
    if key_file:
        return PrivateKeyJwt(from_file(key_file), kid=given.get("client_key_id") or None)
    if given.get("platform") or given.get("platform_token_file"):
        return _of_platform(given.get("platform", ""), given.get("platform_token_file", ""), issuer)
    if file := given.get("client_secret_file"):
        return from_file(file)
    if secret := given.get("client_secret"):
        kept = Secret(secret)
        return lambda: kept
    return None


def _of_platform(name: str, file: str, issuer: str) -> PlatformToken:
    if name == "kubernetes":
        return PlatformToken(from_kubernetes(file) if file else from_kubernetes())
    if name == "github":
        return PlatformToken(from_github_actions(issuer))
    if name == "gitlab":
        return PlatformToken(from_gitlab())
    if name not in ("", "spiffe"):
        raise ValueError(f"platform {name} is not known: use {', '.join(PLATFORMS)}, or name a file with its token")
    if not file:
        raise ValueError("platform spiffe needs platform_token_file: where its helper writes the JWT-SVID")
    return PlatformToken(from_file(file), spiffe=name == "spiffe")
