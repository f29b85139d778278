"""`watchword token`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .. import say
from ..profile import complete as known_profiles
from ..profile import load

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
        say.verbatim(f"Authorization: Bearer {got.value}\n" if header else f"{got.value}\n")


def credentials(name: str | None, resource: str | None, scope: str | None, cache: bool) -> ClientCredentials:
    """The tokens of a profile, shared with other processes on disk. Exits when a URL is wrong."""
    from watchword.client import ClientCredentials, DiskCache

    known = load(name)
    try:
        return ClientCredentials(
            known.issuer,
            known.client_id,
            known.proof(),
            resource=resource,
            scope=scope,
            cache=DiskCache() if cache else None,
        )
    except ValueError as error:
        say.fail(f"no token: {error}")
