"""`watchword profile`: several issuers and applications, by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from watchword.client import surroundings, wire

from .. import profile, say

profiles = typer.Typer(help="Named credentials: list, show, use, set, remove.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A profile", autocompletion=profile.complete)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


@profiles.command("list")
def list_(json: AsJson = False) -> None:
    """Every profile; the current one is marked."""
    known, current = profile.read(), profile.chosen()
    found = [
        {"name": name, "issuer": one.issuer, "client_id": one.client_id, "current": name == current}
        for name, one in sorted(known.named.items())
    ]
    if json:
        say.data(found)
    else:
        shown = [{**one, "current": "*" if one["current"] else ""} for one in found]
        say.rows(shown, ["current", "name", "issuer", "client_id"])


@profiles.command()
def show(
    name: Annotated[str | None, typer.Argument(help="A profile", autocompletion=profile.complete)] = None,
    json: AsJson = False,
) -> None:
    """One profile, the current one unless named. The secret is never shown."""
    wanted = profile.chosen(name)
    one = _known(wanted)
    told = {"name": wanted, "issuer": one.issuer, "client_id": one.client_id, **one.shown()}
    if json:
        say.data(told)
    else:
        for field, value in told.items():
            say.line(f"{field:24} {value}")


@profiles.command()
def use(name: Name) -> None:
    """Make a profile the current one."""
    _known(name)
    profile.keep(profile.Profiles(profile.read().named, name))
    say.done(f"commands go by {name} now")


@profiles.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="A new or existing profile")],
    issuer: Annotated[str, typer.Option(help="The issuer's URL")],
    client_id: Annotated[str, typer.Option(help="The application's id")],
    secret_file: Annotated[Path | None, typer.Option(help="A file that holds the secret; read at each use")] = None,
    key_file: Annotated[Path | None, typer.Option(help="A private key (PEM) in place of a secret")] = None,
    key_id: Annotated[str, typer.Option(help="The key's kid, if it is not its thumbprint")] = "",
    certificate_file: Annotated[
        Path | None, typer.Option(help="A certificate (PEM) for mutual TLS; its key by --key-file")
    ] = None,
    platform: Annotated[str, typer.Option(help=f"Its platform's identity: {', '.join(surroundings.PLATFORMS)}")] = "",
    platform_token_file: Annotated[Path | None, typer.Option(help="A file that the platform keeps fresh")] = None,
) -> None:
    """Keep credentials under a name. A secret comes from standard input, unless something else is named."""
    try:
        wire.checked_url(issuer, "--issuer", insecure_http=False)
    except ValueError as error:
        say.misuse(str(error))
    made = profile.Profile(
        issuer, client_id, client_secret_file=_absolute(secret_file), client_key_file=_absolute(key_file),
        client_key_id=key_id, client_certificate_file=_absolute(certificate_file), platform=platform,
        platform_token_file=_absolute(platform_token_file),
    )  # fmt: skip
    if made.proves_itself():
        made.proof()
    else:
        made = replace(made, client_secret=_asked())
    known = profile.read()
    written = profile.keep(profile.Profiles({**known.named, name: made}, known.current))
    say.done(f"{name} is kept in {written} (mode 0600)")


@profiles.command()
def remove(name: Name) -> None:
    """Forget a profile; the default one becomes current if it was."""
    _known(name)
    known = profile.read()
    named = {other: one for other, one in known.named.items() if other != name}
    profile.keep(profile.Profiles(named, profile.DEFAULT if known.current == name else known.current))
    say.done(f"{name} is forgotten")


def _absolute(path: Path | None) -> str:
    return str(path.absolute()) if path is not None else ""


def _asked() -> str:
    secret = typer.prompt("Client secret", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not secret:
        say.misuse("no secret on standard input", "pipe it in, or name what proves it: --secret-file, --key-file, ...")
    return str(secret)


def _known(name: str) -> profile.Profile:
    found = profile.read().named.get(name)
    if found is None:
        say.misuse(f"there is no profile {name}", "`watchword profile list` shows those there are")
    return found
