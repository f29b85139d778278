"""The exceptions that verifying a token can raise, each with one text for the caller and one for the operator.

::

    AccessRefused
     +- TokenMissing        401, no error word (RFC 6750 section 3.1)
     +- RequestInvalid      400 invalid_request: more than one Authorization header
     +- TokenInvalid        401 invalid_token: every fault of a token, always in the same public words
     +- ProofInvalid        401 invalid_dpop_proof: the DPoP proof is missing or wrong (RFC 9449)
     |   +- NonceNeeded               401 use_dpop_nonce, with the nonce to put into the next proof
     +- Forbidden           403 insufficient_scope: a good token without the right; an API's own rules raise it
     |   +- InsufficientScope         with the scope that is needed
     +- TransactionInvalid  403 invalid_txn_token: every fault of a transaction token, in the same public words
     |   +- TransactionMissing        there is none
     |   +- TransactionForbidden      403 insufficient_scope: a good one without the scope
     +- Unavailable         503: the token cannot be checked now; it may still be good
         +- KeysUnavailable           the issuer's keys cannot be fetched
         +- IntrospectionUnavailable  the issuer does not say whether an opaque token is good
         +- RevocationsUnknown        the feed of revocations has been silent for too long
         +- TooManyProofs             the memory of used proofs is full
         +- StatusUnknown             the token's status list cannot be fetched, or is too old

``public`` may be shown to anyone. ``rule`` is for this API's operator and its log: it names the
check that failed and never holds the token.
"""

from __future__ import annotations


class AccessRefused(Exception):
    """The base class: catch it to catch all of them."""

    status = 401
    error: str | None = None
    public = ""
    scheme = "Bearer"
    """With which the token was shown, ``Bearer`` or ``DPoP``: the challenge is in its words."""
    challenged = True
    """Whether ``WWW-Authenticate`` says how to do better."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule

    @property
    def needed(self) -> str | None:
        """The scope that is missing, if a scope is."""
        return None


class TokenMissing(AccessRefused):
    """The request carried no bearer token."""

    public = "An access token is required"


class RequestInvalid(AccessRefused):
    """The request carried more than one Authorization header (RFC 6750 section 3.1)."""

    status = 400
    error = "invalid_request"
    public = "The request has more than one Authorization header"


class TokenInvalid(AccessRefused):
    """The token is malformed, forged, expired or for another API; the caller is not told which."""

    error = "invalid_token"
    public = "The access token is not valid here"


class ProofInvalid(AccessRefused):
    """The DPoP proof is missing or wrong (RFC 9449 section 4.3).

    The caller made the proof itself, so it is told which rule the proof breaks.
    """

    error = "invalid_dpop_proof"

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.public = f"The DPoP proof is refused: {rule}"


class NonceNeeded(ProofInvalid):
    """The next proof has to hold this API's ``nonce`` (RFC 9449 section 9)."""

    error = "use_dpop_nonce"

    def __init__(self, nonce: str) -> None:
        super().__init__("it does not hold the nonce of the DPoP-Nonce header; make another that does")
        self.nonce = nonce


class Forbidden(AccessRefused):
    """The token is good but does not allow this request: a role is missing, or a rule of the API refuses.

    RFC 6750 section 3.1 has one word for it, ``insufficient_scope``: "the request requires higher
    privileges than provided by the access token".
    """

    status = 403
    error = "insufficient_scope"
    public = "The access token does not permit this"


class InsufficientScope(Forbidden):
    """The token is good but lacks a scope; ``needed`` is that scope."""

    public = "The access token does not have the scope that is needed"

    def __init__(self, needed: str) -> None:
        super().__init__(f"the scope {needed} is needed")
        self._needed = needed

    @property
    def needed(self) -> str | None:
        return self._needed


class TransactionInvalid(AccessRefused):
    """The transaction token is malformed, forged, expired, or of another trust domain.

    403 and no challenge: a 401 would have to name a scheme by which the caller could do better (RFC 9110 section
    15.5.2), and none brings a transaction token. draft-10 has no word for it; this one is ours.
    """

    status = 403
    error = "invalid_txn_token"
    public = "The transaction token is not valid here"
    challenged = False


class TransactionMissing(TransactionInvalid):
    """The request carried no transaction token."""

    public = "A transaction token is required (Txn-Token)"


class TransactionForbidden(TransactionInvalid):
    """The transaction token is good but lacks a scope; ``needed`` is that scope."""

    error = "insufficient_scope"
    public = "The transaction does not have the scope that is needed"

    def __init__(self, needed: str) -> None:
        super().__init__(f"the scope {needed} is needed")
        self._needed = needed

    @property
    def needed(self) -> str | None:
        return self._needed


class Unavailable(AccessRefused):
    """The base class of 503 refusals: the token cannot be checked now."""

    status = 503
    challenged = False
    error = "temporarily_unavailable"
    public = "Tokens cannot be verified at the moment"


class KeysUnavailable(Unavailable):
    """The issuer's keys could not be fetched, and the last ones are older than ``Fetch.outage`` allows."""


class IntrospectionUnavailable(Unavailable):
    """The introspection endpoint gave no usable answer, or refused this API's own credentials."""


class RevocationsUnknown(Unavailable):
    """The last answer of the revocation feed is older than ``max_stale``."""


class TooManyProofs(Unavailable):
    """The memory of used DPoP proofs is full."""


class StatusUnknown(Unavailable):
    """The token's status list cannot be fetched, is too old, or is not signed by the issuer."""
