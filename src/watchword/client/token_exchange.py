"""Token exchange (RFC 8693): an API that was called with a token gets a token for the next API, for the same caller."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from watchword.client.credentials import ClientCredentials, form_parameters
from watchword.client.http_auth import HttpAuth
from watchword.client.source import guard

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
REMEMBERED: Final = 1_024
"""Subject tokens whose exchanged tokens are kept."""
LATEST: Final = 1e12
"""The largest ``exp`` that is used (Unix seconds): JSON numbers have no limit, clocks have."""


class OnBehalf(HttpAuth):
    """The tokens that are exchanged for one subject token; used like `ClientCredentials`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"OnBehalf({self._plan.issuer!r}, {self._plan.client_id!r})"

    def is_over(self) -> bool:
        """Whether the subject token has expired."""
        return self._plan.now() >= self._plan.until


class TokenExchange:
    """``httpx.get(url, auth=exchange.on_behalf_of(token))``: made once, used for every request that comes in.

    Args:
        credentials: authenticate this application at the token endpoint and hold its DPoP key. Their resource and scope
            do not matter here.
        audience, resource, scope: of the tokens, as in `ClientCredentials`. Without a scope: all scopes that the
            caller and this application both have.
        subject_token_type: RFC 8693 section 3.
        remembered: how many subject tokens are remembered; the least recently used is removed first.

    Safe for threads, tasks and fork.
    """

    def __init__(
        self,
        credentials: ClientCredentials,
        *,
        audience: str | None = None,
        resource: str | Iterable[str] | None = None,
        scope: str | Iterable[str] | None = None,
        subject_token_type: str = ACCESS_TOKEN,
        remembered: int = REMEMBERED,
    ) -> None:
        self._credentials, self._remembered = credentials, remembered
        self._parameters = (*form_parameters(resource, audience, scope), ("subject_token_type", subject_token_type))
        self._sources: OrderedDict[bytes, OnBehalf] = OrderedDict()

    def on_behalf_of(self, subject_token: str, *, until: float | None = None) -> OnBehalf:
        """The tokens for the caller that sent ``subject_token``, which this API has verified.

        They are renewed until the subject token expires and never kept longer: until its ``exp`` if it is a JWT, and
        until ``until`` (Unix seconds, such as ``claims.expires_at``) if given. An opaque token needs ``until``.
        """
        name = hashlib.sha256(subject_token.encode("utf-8", "surrogatepass")).digest()
        with guard.lock:
            source = self._sources.get(name)
            if source is not None:
                self._sources.move_to_end(name)
                return source
            self._sources[name] = source = OnBehalf.like(
                self._credentials,
                grant_type=GRANT,
                parameters=(*self._parameters, ("subject_token", subject_token)),
                until=end_of(subject_token, until),
            )
            self._forget()
        return source

    def _forget(self) -> None:
        """Remove the oldest when there are too many, and the oldest that have expired."""
        while len(self._sources) > self._remembered or next(iter(self._sources.values())).is_over():
            self._sources.popitem(last=False)
            if not self._sources:
                return


def end_of(unverified_token: str, until: float | None) -> float:
    """The end of a subject token, Unix seconds; infinite if unknown. Its unverified claim can only make it earlier."""
    from watchword.jose import JoseError
    from watchword.jose.compact import read_unverified

    end = math.inf if until is None else until
    try:
        unverified_exp = read_unverified(unverified_token).unverified_claims.get("exp")
    except JoseError:  # opaque, or not a JWT that we can read
        return end
    if isinstance(unverified_exp, bool) or not isinstance(unverified_exp, int | float):
        return end
    return min(end, float(min(unverified_exp, LATEST)))
