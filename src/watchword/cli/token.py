"""`watchword token` and `watchword inspect`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import say
from .profile import complete as known_profiles
from .profile import load

if TYPE_CHECKING:
    from watchword.client import ClientCredentials


Resource = Annotated[str | None, typer.Option(help="The API")]
Scope = Annotated[str | None, typer.Option(help="Scopes, space-separated")]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile", help="Whose credentials; the environment does not count then", autocompletion=known_profiles
    ),
]
Cached = Annotated[bool, typer.Option("--cache/--no-cache", help="Share tokens with other runs, on disk")]


def token(
    resource: Resource = None,
    scope: Scope = None,
    header: Annotated[bool, typer.Option("--header", help="Print an Authorization header")] = False,
    profile: ProfileName = None,
    cache: Cached = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Get an access token for this job. Exit 1: refused; 75: nobody answered, try again later."""
    from watchword.client import TokenError, TokenUnavailable

    try:
        got = credentials(profile, resource, scope, cache).token()
    except TokenUnavailable as error:
        say.fail(f"no token: {error}", "is the issuer running? it is safe to try again", code=say.TRY_LATER)
    except TokenError as error:
        say.fail(f"no token: {error}")
    if json:
        say.data(
            {
                "access_token": got.value,
                "token_type": "Bearer",
                "expires_at": got.expires_at,
                "scope": got.scope,
            }
        )
    else:
        sys.stdout.write(f"Authorization: Bearer {got.value}\n" if header else f"{got.value}\n")


def credentials(name: str | None, resource: str | None, scope: str | None, cache: bool) -> ClientCredentials:
    """The tokens of a profile, shared with other processes on disk. Exits when a URL is wrong."""
    from watchword.client import ClientCredentials, DiskCache

    known = load(name)
    try:
        return ClientCredentials(
            known.issuer,
            known.client_id,
            known.secret(),
            resource=resource,
            scope=scope,
            cache=DiskCache() if cache else None,
        )
    except ValueError as error:
        say.fail(f"no token: {error}")


def inspect(
    unverified_token: Annotated[str, typer.Argument(metavar="TOKEN", help="A JWT, or - for standard input")],
    audience: Annotated[str | None, typer.Option(help="Judge it as this API would")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Decode, verify and explain a token; exit 1 when it would be refused, and by which rule."""
    from watchword.jose import JoseError, decode_unverified
    from watchword.jose.encoding import json_object

    text = sys.stdin.read().strip() if unverified_token == "-" else unverified_token
    try:
        parts = decode_unverified(text)
        unverified_claims = json_object(parts.unverified_payload)
    except JoseError as error:
        say.fail(f"not a token as we read it: {error}")
    refused = _judge(text, unverified_claims, audience)
    told: dict[str, Any] = {
        "header": parts.unverified_header,
        "claims": unverified_claims,
        "accepted": refused is None,
        "rule": refused,
    }
    if json:
        say.data(told)
    else:
        for part in ("header", "claims"):
            say.out.print(f"[bold]{part}[/bold]")
            for name, value in told[part].items():
                note = (
                    f"  ({time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(value))})"
                    if name in ("exp", "iat", "nbf") and isinstance(value, int) and 0 <= value < 2**40
                    else ""
                )
                say.out.print(f"  {say.plain(name):10} {say.plain(str(value))}{note}", markup=False)
        if refused is None:
            say.done("would be accepted")
    if refused is not None:
        say.fail(f"would be refused: {refused}")


def _judge(text: str, unverified_claims: dict[str, object], audience: str | None) -> str | None:
    """The rule that refuses it, or None."""
    from watchword.resource import Verifier

    issuer, found = unverified_claims.get("iss"), unverified_claims.get("aud")
    wanted = audience or (found if isinstance(found, str) else next(iter(found), "") if isinstance(found, list) else "")
    if not isinstance(issuer, str) or not isinstance(wanted, str):
        return "iss or aud is missing"
    try:
        Verifier(issuer, audience=wanted).verify(text)
    except Exception as error:
        return str(getattr(error, "rule", "") or error)
    return None
