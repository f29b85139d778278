"""Check the public keys of an application, given by value or as a `jwks_uri`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from ...jose import POST_QUANTUM, Algorithm, JoseError, KeySet, PublicKey, UnacceptableKey, mldsa
from ...jose.jwk import PRIVATE_MEMBERS
from . import certificates
from .errors import Invalid
from .model import BORROWING_METHODS, KEY_METHODS, SECRET_METHODS, Application, ClientKey

ALGORITHMS = ("ES256", "PS256", "EdDSA", "RS256", *(sorted(POST_QUANTUM) if mldsa.OFFERED else ()))
MAX_KEYS = 10
"""Also the number of keys that are tried for an assertion without a `kid`."""

MAX_RSA_FETCHED = 20
_RSA = frozenset(each for each in Algorithm if each.value[:2] in ("RS", "PS"))

NOT_REACHABLE = (
    "use an https address at port 443 that answers from a public network; nothing else is said about why not "
    "(other ports: WATCHWORD_FETCH_PORTS)"
)
_NUMBERISH = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def read_keys(jwks: Mapping[str, Any], at: int) -> tuple[ClientKey, ...]:
    """Read a JWK set (RFC 7517 section 5) from an administrator. Raises `Invalid`; keeps public members only."""
    listed = jwks.get("keys")
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not 1 <= len(listed) <= MAX_KEYS:
        raise Invalid(f"give a JWK set of 1 to {MAX_KEYS} keys: {{'keys': [...]}}", field="jwks")
    keys = tuple(read_key(jwk, at) for jwk in listed)
    if len({key.kid for key in keys}) != len(keys):
        raise Invalid("two keys have one kid", field="jwks")
    return keys


def read_key(jwk: object, at: int) -> ClientKey:
    """One public JWK that is going to be kept, strictly. Raises `Invalid`, which never quotes the key."""
    try:
        key = read_public(jwk).check_for_keeping()
    except JoseError as error:
        raise Invalid(f"a key is not acceptable: {error.rule}", field="jwks") from None
    return ClientKey(kid=key.kid, jwk=key.to_jwk(), created_at=at)


def read_public(jwk: object) -> PublicKey:
    """`read_key`, for lists of many keys: without the check that takes milliseconds. Raises `Invalid`."""
    if not isinstance(jwk, Mapping):
        raise Invalid("a key is a JSON object", field="jwks")
    if PRIVATE_MEMBERS & jwk.keys():
        raise Invalid("this key has private members: register its public half, and make a new key", field="jwks")
    try:
        key = PublicKey.from_jwk(jwk)
    except JoseError as error:
        raise Invalid(f"a key is not acceptable: {error.rule}", field="jwks") from None
    if key.algorithm not in ALGORITHMS or not 1 <= len(key.kid) <= 255 or not key.kid.isprintable():
        raise Invalid(
            f"a key is for one of {', '.join(ALGORITHMS)}, and its kid has 1 to 255 printable characters", field="jwks"
        )
    return key


def key_set(keys: Sequence[ClientKey]) -> KeySet:
    """The key set that verifies the application's assertions."""
    return KeySet(PublicKey.from_jwk(key.jwk) for key in keys)


def acceptable(unverified_jwks: bytes) -> KeySet:
    """The keys of a fetched set that could also be registered by value. Raises a `JoseError`."""
    found = KeySet.parse(unverified_jwks)
    wanted = [Algorithm(name) for name in ALGORITHMS]
    keys = for_keeping(key for key in found.values() if key.algorithm in wanted)
    if not keys:
        raise UnacceptableKey("the set has no key that is acceptable here")
    return KeySet(keys)


def for_keeping(keys: Iterable[PublicKey]) -> list[PublicKey]:
    """Those that pass the slow check; RSA keys after the first `MAX_RSA_FETCHED` are left out, as each takes long."""
    found, tested = [], 0
    for key in keys:
        tested += key.algorithm in _RSA
        if key.algorithm in _RSA and tested > MAX_RSA_FETCHED:
            continue
        with suppress(UnacceptableKey):
            found.append(key.check_for_keeping())
    return found


def check_credentials(application: Application) -> None:
    """Raises `Invalid` unless an application has what its authentication method needs, and nothing else."""
    by_key = application.auth_method in KEY_METHODS
    method = application.auth_method
    if by_key and bool(application.keys) == bool(application.jwks_uri):
        raise Invalid(f"{method} needs either jwks or jwks_uri", field="jwks")
    if not by_key and (application.keys or application.jwks_uri is not None):
        raise Invalid(f"{method} uses no keys: leave out jwks and jwks_uri", field="jwks")
    if application.secrets and method not in SECRET_METHODS:
        raise Invalid(f"{method} has no secret", field="auth_method")
    if (method == "tls_client_auth") != (application.tls_client_auth is not None):
        raise Invalid("auth_method tls_client_auth and the member tls_client_auth go together", field="tls_client_auth")
    if application.tls_client_auth is not None:
        certificates.check_name(application.tls_client_auth)
    if application.identities and method not in BORROWING_METHODS:
        raise Invalid(f"{method} uses no identity rules: remove them first", field="auth_method")


def check_jwks_uri(uri: str, *, loopback: bool, ports: Collection[int] = (443,)) -> None:
    """Check the URL without resolving it; the addresses of the host are checked when it is resolved.

    https only, at one of `ports`; no user, no fragment; a host that is a name, or a public address in its usual
    spelling. `loopback` also allows http and this machine's own addresses, at any port: for development.
    """
    wrong = Invalid(NOT_REACHABLE, field="jwks_uri")
    if not uri.isascii() or not uri.isprintable() or " " in uri or "\\" in uri or len(uri) > 2000:
        raise wrong
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise wrong from None
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("https", "http") or not host or "@" in parts.netloc or parts.fragment or port == 0:
        raise wrong
    local = host == "localhost" or host.endswith(".localhost")
    if not local:
        address = address_of(host)
        if address is None and _NUMBERISH.fullmatch(host.rpartition(".")[2]):
            raise wrong  # decimal, octal and hexadecimal spellings of an address
        if address is not None and not may_connect(address, loopback=loopback):
            raise wrong
        local = address is not None and address.is_loopback
    if (local or parts.scheme == "http" or (port or 443) not in ports) and not (loopback and local):
        raise wrong


def address_of(host: str) -> Address | None:
    """The IP address in a text, in its canonical spelling; None for a host name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def may_connect(address: Address, *, loopback: bool) -> bool:
    """Whether the address is public, and no form that reaches an internal one: mapped, translated or tunnelled IPv4."""
    if address.is_loopback:
        return loopback
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped or address.sixtofour or address.teredo or address in _TRANSLATED:
            return False
        if address.is_site_local:
            return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


_NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))
"""Protocol assignments (RFC 6890), 6to4 relays (RFC 7526), documentation (RFC 9637), whatever Python's list says."""
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
