"""The errors of the OAuth endpoints, with their status codes and error codes.

OAuthError
├── InvalidRequest          400 invalid_request
├── InvalidClient           401 invalid_client
├── UnauthorizedClient      400 unauthorized_client
├── UnsupportedGrantType    400 unsupported_grant_type
├── InvalidScope            400 invalid_scope
├── InvalidTarget           400 invalid_target             (RFC 8707)
├── InvalidAuthorizationDetails  400 invalid_authorization_details  (RFC 9396)
├── InvalidGrant            400 invalid_grant              (RFC 6749)
├── EnrolmentRefused        409 enrolment_refused          (ours)
├── EnrolmentDenied         403 access_denied              (the word is RFC 8628's)
├── InvalidDpopProof        400 invalid_dpop_proof         (RFC 9449)
│   └── UseDpopNonce        400 use_dpop_nonce, DPoP-Nonce
├── InvalidClientMetadata   400 invalid_client_metadata    (RFC 7591)
│   └── RegisteredAlready   409 invalid_client_metadata
├── InvalidRedirectUri      400 invalid_redirect_uri       (RFC 7591)
├── InvalidSoftwareStatement      400 invalid_software_statement
├── UnapprovedSoftwareStatement   400 unapproved_software_statement
├── InvalidToken            401 invalid_token              (RFC 6750)
├── InsufficientScope       403 insufficient_scope         (RFC 6750)
├── TooLarge                413 invalid_request
├── TooSlow                 408 invalid_request
├── SlowDown                429 slow_down, Retry-After     (RFC 6585; the word is RFC 8628's)
└── Unavailable             503 temporarily_unavailable, Retry-After
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

Error = TypeVar("Error", bound=BaseException)


class OAuthError(Exception):
    """Base. `public` goes on the wire; `detail` is for the operator and never does.

    `rule` is from a closed list of our own; refusals are summed up by it.
    """

    status: ClassVar[int] = 400
    error: ClassVar[str] = "invalid_request"
    retry_after: int | None = None

    def __init__(self, public: str, *, detail: str = "", rule: str = "") -> None:
        super().__init__(public)
        self.public, self.detail, self.rule = public, detail, rule


def without_frames(error: Error) -> Error:
    """The same, without the frames that it was raised in, and so are those that it came from.

    An exception that a local still names is a cycle with that local's frame, and keeps all that the frame holds, the
    request's body too, until the collector comes by. Whoever keeps an exception, even for one more line, calls this.
    """
    found: BaseException | None = error
    while found is not None:
        found.__traceback__ = None
        found = found.__cause__ or found.__context__
    return error


class InvalidRequest(OAuthError):
    """RFC 6749 section 5.2."""


class InvalidClient(OAuthError):
    """RFC 6749 section 5.2. The same text for unknown, wrong, expired and disabled."""

    status, error = 401, "invalid_client"

    def __init__(self, public: str = "client authentication failed", *, detail: str = "", rule: str = "") -> None:
        super().__init__(public, detail=detail, rule=rule)


class UnauthorizedClient(OAuthError):
    """RFC 6749 section 5.2."""

    error = "unauthorized_client"


class UnsupportedGrantType(OAuthError):
    """RFC 6749 section 5.2."""

    error = "unsupported_grant_type"


class InvalidScope(OAuthError):
    """RFC 6749 section 5.2."""

    error = "invalid_scope"


class InvalidTarget(OAuthError):
    """RFC 8707 section 2."""

    error = "invalid_target"


class InvalidAuthorizationDetails(OAuthError):
    """RFC 9396 section 5."""

    error = "invalid_authorization_details"


class InvalidGrant(OAuthError):
    """RFC 6749 section 5.2. The same text for unknown, used up, expired and withdrawn."""

    error = "invalid_grant"

    def __init__(
        self,
        public: str = "this lets nobody in, or not any more: ask whoever gave it to you",
        *,
        detail: str = "",
        rule: str = "code",
    ) -> None:
        super().__init__(public, detail=detail, rule=rule)


class EnrolmentRefused(OAuthError):
    """The group's policy rejects the device, although its code is valid."""

    status, error = 409, "enrolment_refused"


class EnrolmentDenied(OAuthError):
    """An administrator has denied the device. This is final."""

    status, error = 403, "access_denied"

    def __init__(self) -> None:
        super().__init__("an administrator turned this device away, and that is final: stop asking", rule="denied")


class InvalidDpopProof(OAuthError):
    """RFC 9449 section 5. The text may name the broken rule: the caller is authenticated, and the proof is its own."""

    error = "invalid_dpop_proof"


class UseDpopNonce(InvalidDpopProof):
    """RFC 9449 section 8: `nonce` is the one to use."""

    error = "use_dpop_nonce"

    def __init__(self, nonce: str) -> None:
        super().__init__("make the DPoP proof again, with the nonce of the DPoP-Nonce header", rule="nonce")
        self.nonce = nonce


class InvalidClientMetadata(OAuthError):
    """RFC 7591 section 3.2.2."""

    error = "invalid_client_metadata"


class RegisteredAlready(InvalidClientMetadata):
    """Another application is registered for this software already, and only one is allowed."""

    status = 409


class InvalidRedirectUri(OAuthError):
    """RFC 7591 section 3.2.2: there is no flow with redirects."""

    error = "invalid_redirect_uri"


class InvalidSoftwareStatement(OAuthError):
    """RFC 7591 section 3.2.2: forged, expired, or not a statement."""

    error = "invalid_software_statement"


class UnapprovedSoftwareStatement(OAuthError):
    """RFC 7591 section 3.2.2: its issuer is not trusted for this initial access token."""

    error = "unapproved_software_statement"


class InvalidToken(OAuthError):
    """RFC 6750 section 3.1."""

    status, error = 401, "invalid_token"


class InsufficientScope(OAuthError):
    """RFC 6750 section 3.1."""

    status, error = 403, "insufficient_scope"


class TooLarge(OAuthError):
    """RFC 9110 section 15.5.14."""

    status = 413


class TooSlow(OAuthError):
    """RFC 9110 section 15.5.9."""

    status = 408


class SlowDown(OAuthError):
    """RFC 6585 section 4: a rate limit was exceeded. `retry_after` is in whole seconds.

    RFC 6749 has no word for it. `slow_down` (RFC 8628 section 3.5) is registered for token endpoints and says what to
    do; `temporarily_unavailable` stays for errors of the server.
    """

    status, error = 429, "slow_down"

    def __init__(self, retry_after: int, *, rule: str) -> None:
        super().__init__(f"too many requests; ask again in {retry_after} s", rule=rule)
        self.retry_after = retry_after


class Unavailable(OAuthError):
    """The database is away: never a wrong yes. RFC 9110 section 15.6.4."""

    status, error, retry_after = 503, "temporarily_unavailable", 1
