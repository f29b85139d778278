"""`watchword token` and `watchword inspect`."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from . import profile, say


def token(
    resource: Annotated[str | None, typer.Option(help="The API")] = None,
    scope: Annotated[str | None, typer.Option(help="Scopes, space-separated")] = None,
    header: Annotated[bool, typer.Option("--header", help="Print an Authorization header")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Get an access token for this job."""
    from watchword.client import ClientCredentials

    known = profile.load()
    try:
        got = ClientCredentials(
            known.issuer, known.client_id, known.client_secret, resource=resource, scope=scope
        ).token()
    except Exception as error:
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
