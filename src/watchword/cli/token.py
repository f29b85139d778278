"""`watchword token`."""

from __future__ import annotations

import sys
from typing import Annotated

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
