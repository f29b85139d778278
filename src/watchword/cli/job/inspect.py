"""`watchword inspect`: the Verifier's own verdict on a token, and in words which rule it rests on."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct

from .. import profile, say

if TYPE_CHECKING:
    from watchword.resource import AccessRefused

_TIMES = ("exp", "iat", "nbf")


class Refusal(Struct, frozen=True):
    """`rule` is a word for scripts: shape, header, typ, kid, signature, iss, aud, exp, nbf, iat, scope, cnf,
    claims, or keys (the issuer's keys cannot be had, so nothing is known). `why` is for people.
    """

    rule: str
    why: str
    hint: str = ""


def inspect(
    unverified_token: Annotated[str, typer.Argument(metavar="TOKEN", help="A JWT or a CWT, or - for standard input")],
    issuer: Annotated[str | None, typer.Option(help="Who must have issued it [default: yours]")] = None,
    audience: Annotated[str | None, typer.Option(help="Judge it as this API would [default: the token's own]")] = None,
    scope: Annotated[str | None, typer.Option(help="Scopes that the API needs, space-separated")] = None,
    type: Annotated[str, typer.Option(help="The typ that the API takes")] = "at+jwt",
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Decode, verify and explain a token; exit 1 when it would be refused, and by which rule."""
    from watchword.jose import JoseError

    text = sys.stdin.read().strip() if unverified_token == "-" else unverified_token
    unverified_header: dict[str, Any] = {}
    unverified_claims: dict[str, Any] = {}
    wanted: dict[str, str] = {}
    try:
        unverified_header, unverified_claims = _unverified_parts(text)
    except JoseError as error:
        refusal: Refusal | None = Refusal("shape", str(error), "an opaque token is judged by introspection")
    else:
        wanted = _wanted(issuer or profile.issuer(), audience, unverified_claims)
        refusal = _judge(text, wanted, scope, type)
        refusal = refusal and _with_its_own_words(refusal, unverified_header, unverified_claims)
    if json:
        told = {"header": unverified_header, "claims": unverified_claims, "judged_as": wanted}
        say.data(
            {**told, "accepted": refusal is None, "rule": refusal and refusal.rule, "why": refusal and refusal.why}
        )
    else:
        _print({"header": unverified_header, "claims": unverified_claims, "judged as": wanted})
    if refusal is not None:
        verdict = "cannot be judged" if refusal.rule == "keys" else "would be refused"
        say.fail(f"{verdict}, {refusal.rule}: {refusal.why}", refusal.hint)
    say.done("would be accepted")


def _unverified_parts(unverified_token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims; those of a CWT with the names that a JWT's have. Raises a `JoseError`."""
    from watchword.jose import decode_unverified
    from watchword.jose.cose import COSE_ALGORITHMS
    from watchword.jose.cwt import looks_like_cwt, read_unverified_cwt
    from watchword.jose.encoding import json_object

    if not looks_like_cwt(unverified_token):
        parts = decode_unverified(unverified_token)
        return parts.unverified_header, json_object(parts.unverified_payload)
    header, claims = read_unverified_cwt(unverified_token)
    algorithm, kid = header.pop(1, None), header.pop(4, b"")
    shown: dict[str, Any] = {"alg": COSE_ALGORITHMS.get(algorithm, algorithm), "kid": _shown(kid)}
    shown |= {"typ" if key == 16 else str(key): _shown(value) for key, value in header.items()}
    return shown, {name: _shown(value) for name, value in claims.items()}


def _shown(value: object) -> Any:
    """A value that JSON and a terminal can hold: bytes as text, or in hexadecimal where they are none."""
    if isinstance(value, dict):
        return {str(name): _shown(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shown(inner) for inner in value]
    if not isinstance(value, bytes):
        return value
    text = value.decode("ascii", "replace")
    return text if text.isprintable() and text.isascii() else value.hex()


def _wanted(issuer: str | None, audience: str | None, unverified_claims: dict[str, Any]) -> dict[str, str]:
    """What to judge by; where nobody says, the token's own words, which then prove nothing by themselves."""
    named, listed = unverified_claims.get("iss"), unverified_claims.get("aud")
    first = listed[0] if isinstance(listed, list) and listed else listed
    return {
        "issuer": issuer or (named if isinstance(named, str) else ""),
        "audience": audience or (first if isinstance(first, str) else ""),
    }


def _judge(unverified_token: str, wanted: dict[str, str], scope: str | None, typ: str) -> Refusal | None:
    from watchword.resource import AccessRefused, Issuer, Verifier

    for name, claim in (("issuer", "iss"), ("audience", "aud")):
        if not wanted[name]:
            return Refusal(claim, f"{claim} is missing or not a text", f"say what to expect with --{name}")
    try:
        verifier = Verifier(Issuer(wanted["issuer"], typ={typ}, cwt=True), audience=wanted["audience"])
    except ValueError as error:
        return Refusal("iss", f"{wanted['issuer']!r} cannot be an issuer: {error}", "name the issuer with --issuer")
    try:
        verifier.verify(unverified_token, scope)
    except AccessRefused as refused:
        return _explain(refused, wanted["issuer"])
    return None


def _explain(refused: AccessRefused, issuer: str) -> Refusal:
    """The rule by the type of what was raised; two share a type, and there its first words tell."""
    from watchword.jose import BadSignature, ClaimRefused, UnacceptableHeader, UnknownKey
    from watchword.resource import InsufficientScope, KeysUnavailable

    why, cause = refused.rule, _cause(refused)
    if isinstance(refused, KeysUnavailable):
        return Refusal("keys", why, f"is {issuer} the issuer, and can this machine reach it?")
    if isinstance(cause, ClaimRefused):
        rule = cause.claim
    elif isinstance(cause, UnacceptableHeader):
        rule = "typ" if why.startswith("typ ") else "header"
    elif isinstance(cause, UnknownKey):
        rule, why = "kid", f"{why} that {issuer} publishes"
    elif isinstance(cause, BadSignature):
        rule = "signature"
    elif isinstance(refused, InsufficientScope):
        rule = "scope"
    else:
        rule = "cnf" if "(cnf)" in why else "claims"
    return Refusal(rule, why, _HINTS.get(rule, ""))


def _with_its_own_words(
    refusal: Refusal, unverified_header: dict[str, Any], unverified_claims: dict[str, Any]
) -> Refusal:
    """The other of the two values, where the Verifier keeps to itself what nobody has signed."""
    kid, issuer = unverified_header.get("kid"), unverified_claims.get("iss")
    said = {
        "typ": f"the token's is {unverified_header.get('typ')!r}",
        "kid": f"the token's is {kid!r}, and it names the issuer {issuer!r}",
        "header": f"the token's is {unverified_header!r}",
        "scope": f"the token's is {unverified_claims.get('scope')!r}",
    }
    own = said.get(refusal.rule)
    return refusal if own is None else Refusal(refusal.rule, f"{refusal.why}; {own[:300]}", refusal.hint)


_HINTS = {
    "iss": "a token of another tenant or instance; compare WATCHWORD_ISSUER of the caller and of the API",
    "aud": "a token for another API; the caller names this one in `resource`",
    "exp": "ask for a new one, or compare the clocks of the two machines",
    "nbf": "compare the clocks of the two machines",
    "iat": "compare the clocks of the two machines",
    "scope": "grant it with `watchword app grant`, and let the caller ask for it",
    "kid": "an older key that is gone, or another issuer's; see `watchword key list`",
    "signature": "the token was altered on its way, or somebody else made it",
    "cnf": "an API takes it together with that key only; this command holds none",
    "typ": "an API of `--type JWT` is judged with --type JWT; an ID token is never an access token",
}


def _cause(refused: BaseException) -> BaseException:
    """What the Verifier met before it put it into the caller's words."""
    from watchword.jose import JoseError

    found: BaseException | None = refused
    while found is not None and not isinstance(found, JoseError):
        found = found.__context__
    return found or refused


def _print(told: dict[str, dict[str, Any]]) -> None:
    for part, members in told.items():
        if members:
            say.heading(part)
        for name, value in members.items():
            say.line(f"  {name:10} {value!s}{_when(name, value)}")


def _when(name: str, value: object) -> str:
    if name not in _TIMES or not isinstance(value, int) or not 0 <= value < 2**40:
        return ""
    return f"  ({time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(value))})"
