"""The exceptions of reading and verifying tokens, keys and certificates.

JoseError
├── MalformedToken       not a well-formed compact JWS (RFC 7515 section 7.1)
├── UnacceptableHeader   a header member, algorithm or type that is not allowed
├── UnknownKey           no key of that id in the set
├── UnacceptableKey      a key that is weak, of the wrong kind, or not for this use
├── BadSignature         the signature does not fit
└── ClaimRefused         a claim is missing, of the wrong type, or has a value that is refused
"""

from __future__ import annotations

from typing import ClassVar


class JoseError(Exception):
    """Base. `public` may be shown to anyone; `detail` (also `rule`) is for the operator.

    Neither holds a token, a signature or a key (CVE-2025-65015). The detail may quote a claim of a
    verified token (iss, aud), escaped and cut short.
    """

    public: ClassVar[str] = "The token is not valid"

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = self.detail = rule


class MalformedToken(JoseError):
    """Not a well-formed compact JWS."""


class UnacceptableHeader(JoseError):
    """A header member, algorithm or type that is not allowed."""


class UnknownKey(JoseError):
    """No key of that id in the set."""


class UnacceptableKey(JoseError):
    """A key that is weak, of the wrong kind, or not for this use."""

    public = "The key is not acceptable"


class BadSignature(JoseError):
    """The signature does not fit."""


class ClaimRefused(JoseError):
    """A claim is missing, of the wrong type, or has a value that is refused; `claim` names it."""

    def __init__(self, claim: str, rule: str) -> None:
        super().__init__(rule)
        self.claim = claim
