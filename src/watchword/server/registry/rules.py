"""Check names, identifiers, lifetimes, labels and grants; each check raises `Invalid` and says what is allowed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from .errors import Invalid
from .model import (
    ADMIN_API,
    MAX_LIFETIME,
    MAX_TRANSACTION,
    MIN_LIFETIME,
    MIN_TRANSACTION,
    TOKEN_EXCHANGE,
    Api,
    Application,
    Grant,
    TokenSettings,
    TransactionTokens,
)

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,128}")
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    r"\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Control characters, direction overrides, and tag characters, which nobody sees. Persian, Hindi and emoji need the
joiners U+200C and U+200D, so those are allowed."""
CWT_ALGORITHMS = ("ES256", "EdDSA")
"""Decision 0048."""
LATEST = 253_402_300_799
"""9999-12-31T23:59:59Z."""


def is_printable(text: str) -> bool:
    """Whether a text has none of the characters that show something else than what it is."""
    return _UNPRINTABLE.search(text) is None


def check_slug(slug: str) -> None:
    """A tenant's slug is part of URLs: lower-case letters, digits, inner hyphens, at most 63 characters."""
    if not _SLUG.fullmatch(slug):
        raise Invalid("use 1 to 63 lower-case letters, digits and inner hyphens", field="slug")


def check_name(name: str, field: str = "name", limit: int = 200) -> None:
    """Names are for people: printable, without direction overrides, trimmed, not empty."""
    if not 1 <= len(name) <= limit or name != name.strip() or _UNPRINTABLE.search(name):
        raise Invalid(
            f"use 1 to {limit} printable characters without leading or trailing space",
            field=field,
        )


def check_text(text: str, field: str, limit: int = 2000) -> None:
    """Free text: printable, bounded."""
    if len(text) > limit or _UNPRINTABLE.search(text.replace("\n", "")):
        raise Invalid(f"use at most {limit} printable characters", field=field)


def check_client_id(client_id: str) -> None:
    """An imported client id (RFC 6749 appendix A.1, widened to the ids of other servers)."""
    if not 1 <= len(client_id) <= 255 or client_id != client_id.strip() or _UNPRINTABLE.search(client_id):
        raise Invalid("use 1 to 255 printable characters", field="client_id")


def check_scope_name(name: str) -> None:
    """RFC 6749 section 3.3, scope-token."""
    if not _SCOPE.fullmatch(name):
        raise Invalid(
            f"{name!r} is not a scope-token: no spaces, quotes, backslashes or control characters",
            field="scopes",
        )


def check_identifier(identifier: str) -> None:
    """An API's identifier: an absolute URI without fragment (RFC 8707 section 2), or a client id."""
    if not 1 <= len(identifier) <= 512 or _UNPRINTABLE.search(identifier) or " " in identifier:
        raise Invalid("use an absolute URI of at most 512 characters", field="identifier")
    try:
        parts = urlsplit(identifier)
    except ValueError:
        raise Invalid("use an absolute URI: what stands in brackets is no IPv6 address", field="identifier") from None
    if "#" in identifier:
        raise Invalid(
            "an API's identifier has no fragment (RFC 8707 section 2)",
            field="identifier",
        )
    if parts.scheme in ("javascript", "data", "file", "vbscript"):
        raise Invalid(f"{parts.scheme}: URIs name no API", field="identifier")


def check_moment(at: int | None, field: str) -> None:
    """Seconds since the epoch that a calendar can show: to the end of the year 9999."""
    if at is not None and not 0 <= at <= LATEST:
        raise Invalid(f"use seconds since 1970-01-01, 0 to {LATEST}", field=field)


def check_token_settings(settings: TokenSettings) -> None:
    """Lifetime bounds; formats and algorithms are closed lists already."""
    if not MIN_LIFETIME <= settings.lifetime <= MAX_LIFETIME:
        raise Invalid(f"use {MIN_LIFETIME} to {MAX_LIFETIME} seconds", field="tokens.lifetime")
    if settings.status_list and settings.format == "opaque":
        raise Invalid("an opaque token is asked about; a status list is for the others", field="tokens.status_list")
    if settings.format == "cwt" and settings.algorithm not in CWT_ALGORITHMS:
        raise Invalid(f"a CWT is signed with {' or '.join(CWT_ALGORITHMS)}", field="tokens.algorithm")


def check_transaction_tokens(wanted: TransactionTokens) -> None:
    """A trust domain is an API's identifier; its tokens live for minutes."""
    check_identifier(wanted.trust_domain)
    if wanted.trust_domain == ADMIN_API:
        raise Invalid("nobody administers Watchword in a transaction", field="transaction_tokens.trust_domain")
    if not MIN_TRANSACTION <= wanted.lifetime <= MAX_TRANSACTION:
        raise Invalid(f"use {MIN_TRANSACTION} to {MAX_TRANSACTION} seconds", field="transaction_tokens.lifetime")


def check_unique(values: Iterable[str], field: str) -> None:
    """No value twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise Invalid(f"{value!r} is listed twice", field=field)
        seen.add(value)


def check_grant_types(grant_types: tuple[str, ...], known: Collection[str]) -> None:
    """Only grant types that the server knows."""
    check_unique(grant_types, "grant_types")
    for name in grant_types:
        if name not in known:
            raise Invalid(f"{name!r} is not one of {', '.join(known)}", field="grant_types")


def check_labels(labels: dict[str, str], field: str) -> None:
    """Label names and values: printable and bounded."""
    for name, value in labels.items():
        check_name(name, field, 64)
        check_text(value, field, 200)
    if len(labels) > 50:
        raise Invalid("use at most 50 labels", field=field)


def check_exchange(application: Application, apis: dict[str, Api]) -> None:
    """Token exchange and details refer to APIs and types that exist."""
    check_unique(application.exchange_from, "exchange_from")
    for api_id in application.exchange_from:
        if api_id not in apis:
            raise Invalid(f"there is no API {api_id!r}", field="exchange_from")
    if application.exchange_from and TOKEN_EXCHANGE not in application.grant_types:
        raise Invalid(f"exchange_from needs the grant type {TOKEN_EXCHANGE}", field="grant_types")
    if application.may_act is not None:
        check_client_id(application.may_act)
    check_unique(application.details_types, "details_types")
    known = {kind.name for api in apis.values() for kind in api.details_types}
    for name in application.details_types:
        if name not in known:
            raise Invalid(f"no API has the type {name[:200]!r}", field="details_types")


def check_grants(grants: tuple[Grant, ...], apis: dict[str, Api], field: str) -> None:
    """Every grant refers to an API of this tenant and to scopes of that API."""
    check_unique((grant.api_id for grant in grants), field)
    for grant in grants:
        api = apis.get(grant.api_id)
        if api is None:
            raise Invalid(f"there is no API {grant.api_id!r}", field=field)
        missing = [name for name in grant.scopes if name not in api.scope_names()]
        if missing:
            raise Invalid(f"{api.identifier} offers no scope {missing[0]!r}", field=field)
        check_unique(grant.scopes, field)
