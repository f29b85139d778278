"""Turn a refusal into status, headers and JSON body of the answer. Pure functions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from watchword.resource.errors import AccessRefused, NonceNeeded, Unavailable

RETRY_AFTER: Final = 5
"""Seconds after which the issuer is asked again."""
_UNQUOTABLE = re.compile(r'[^ -~]|["\\]')


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer with a JSON body."""

    status: int
    headers: dict[str, str]
    document: dict[str, str]

    @property
    def body(self) -> bytes:
        """The document's bytes."""
        return json.dumps(self.document).encode()


@dataclass(frozen=True, slots=True)
class Schemes:
    """The schemes that a challenge names: the first with all parameters, the others with their name only.

    ``algorithms`` are those that may sign DPoP proofs (RFC 9449 section 7.1).
    """

    names: tuple[str, ...] = ("Bearer",)
    algorithms: tuple[str, ...] = ()


def refusal(
    refused: AccessRefused,
    *,
    realm: str | None = None,
    resource_metadata: str | None = None,
    request_id: str = "",
    schemes: Schemes = Schemes(),
) -> Answer:
    """The answer to a request that was refused (RFC 6750 section 3, RFC 9449 section 7.1, RFC 9728 section 5.1).

    It has the public text only: ``refused.rule`` is for the operator's log.

    Args:
        realm: the API's own name. resource_metadata: the address of its metadata.
        request_id: what `watchword.resource.request_id.request_id` read; goes back in ``X-Request-Id``.
    """
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    value = challenge(refused, realm, resource_metadata, schemes)
    if isinstance(refused, Unavailable):
        headers["Retry-After"] = str(RETRY_AFTER)
    if value is not None:
        headers["WWW-Authenticate"] = value
    if isinstance(refused, NonceNeeded):
        headers["DPoP-Nonce"] = refused.nonce
    if request_id:
        headers["X-Request-Id"] = request_id
    document = {"error": refused.error or "unauthorized", "error_description": refused.public}
    return Answer(refused.status, headers, document)


def challenge(
    refused: AccessRefused,
    realm: str | None = None,
    resource_metadata: str | None = None,
    schemes: Schemes = Schemes(),
) -> str | None:
    """The value of ``WWW-Authenticate`` (RFC 6750 section 3, RFC 9449 section 7.1), or None for a 503 and a
    transaction token.

    ``realm`` is the API's own text; characters that a quoted-string cannot hold are left out.
    ``resource_metadata`` is the address of its metadata (RFC 9728 section 5.1).
    """
    if not refused.challenged:
        return None
    parts = [
        ("realm", realm),
        ("error", refused.error),
        ("error_description", None if refused.error is None else refused.public),
        ("scope", refused.needed),
        ("resource_metadata", resource_metadata),
    ]
    first, *others = ("DPoP",) if refused.scheme == "DPoP" else schemes.names
    algorithms = " ".join(schemes.algorithms) or None
    if first == "DPoP":
        parts.append(("algs", algorithms))
    told = [_one(first, parts), *(_one(other, [("algs", algorithms)]) for other in others)]
    return ", ".join(told)


def _one(scheme: str, parts: list[tuple[str, str | None]]) -> str:
    given = ", ".join(f'{name}="{_UNQUOTABLE.sub("", value)}"' for name, value in parts if value is not None)
    return f"{scheme} {given}".rstrip()
