"""`watchword run` and `watchword curl`: another program, with a token.

Exit codes are the program's own, as with env(1) and timeout(1): 125 when it was not started because there is
no token, 126 when it cannot be started, 127 when it does not exist, 128 + n when signal n ended it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from watchword.client import AccessToken, ClientCredentials, TokenError
from watchword.client.surroundings import FIELDS

from .. import say
from .curl_arguments import checked_arguments
from .token import Cached, ProfileName, Resource, Scope, credentials

NOT_STARTED, CANNOT_START, NOT_FOUND = 125, 126, 127
_OURS = {"CREDENTIALS_DIRECTORY", "WATCHWORD_ID_TOKEN", *(f"WATCHWORD_{name.upper()}" for name in FIELDS)}
"""What the child does not inherit: it gets a token, not the means to get others."""
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LOOK_UP = 1.0
"""Seconds between two looks whether the token is to be renewed; a look costs a comparison."""

Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND [ARGUMENT]...", help="The program")]


def run(
    command: Command,
    env: Annotated[str, typer.Option(help="The variable that holds the token")] = "WATCHWORD_TOKEN",
    file: Annotated[
        bool, typer.Option("--file", help="A file, renewed while it runs; its path is in the variable with _FILE")
    ] = False,
    resource: Resource = None,
    scope: Scope = None,
    profile: ProfileName = None,
    cache: Cached = True,
) -> None:
    """Run a program with a fresh token in its environment, or in a file that is renewed while it runs."""
    source = _source(profile, resource, scope, cache)
    token = _token(source)
    clean = {name: value for name, value in os.environ.items() if name not in _OURS}
    if not file:
        _become(command, {**clean, env: token.value})
    with tempfile.TemporaryDirectory(prefix="watchword-", dir=os.environ.get("XDG_RUNTIME_DIR")) as folder:
        place = Path(folder, "token")
        _write(place, token)
        code = _supervise(command, {**clean, f"{env}_FILE": str(place)}, source, place, token)
    raise typer.Exit(code)


def curl(
    arguments: Annotated[list[str], typer.Argument(metavar="-- ARGUMENT...", help="For curl, the URL among them")],
    resource: Resource = None,
    scope: Scope = None,
    profile: ProfileName = None,
    cache: Cached = True,
) -> None:
    """curl, with the Authorization header. The token never stands on a command line that others can list."""
    source = _source(profile, resource, scope, cache)
    try:
        passed_on = checked_arguments(arguments, source.check_target)
    except ValueError as error:
        say.misuse(str(error))
    reading, writing = os.pipe()
    os.write(writing, f'header = "Authorization: Bearer {_token(source).value}"\n'.encode())
    os.close(writing)
    os.set_inheritable(reading, True)
    # curl takes an address without a scheme for plain http; here it is https.
    _become(["curl", "--proto-default", "https", "--config", f"/dev/fd/{reading}", *passed_on], dict(os.environ))


def _source(profile: str | None, resource: str | None, scope: str | None, cache: bool) -> ClientCredentials:
    try:
        return credentials(profile, resource, scope, cache)
    except typer.Exit as ended:
        raise typer.Exit(NOT_STARTED if ended.exit_code == say.FAILED else ended.exit_code) from None


def _token(source: ClientCredentials) -> AccessToken:
    try:
        return source.token()
    except TokenError as error:
        say.fail(f"no token: {error}", code=NOT_STARTED)


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Replace this process: signals and exit code are the program's without a word from us."""
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        _cannot_start(command[0], error)


def _cannot_start(program: str, error: OSError) -> NoReturn:
    missing = isinstance(error, FileNotFoundError)
    say.fail(f"{program}: {error.strerror}", code=NOT_FOUND if missing else CANNOT_START)


def _supervise(
    command: list[str], environment: dict[str, str], source: ClientCredentials, place: Path, token: AccessToken
) -> int:
    try:
        child = subprocess.Popen(command, env=environment)
    except OSError as error:
        _cannot_start(command[0], error)
    with _forwarding(child):
        while True:
            try:
                code = child.wait(LOOK_UP)
            except subprocess.TimeoutExpired:
                token = _renewed(source, place, token)
            else:
                return 128 - code if code < 0 else code


def _renewed(source: ClientCredentials, place: Path, old: AccessToken) -> AccessToken:
    """The token in the file; a failure is told, and the program decides what it is worth."""
    try:
        token = source.token()
    except TokenError as error:
        say.warn(f"the token could not be renewed: {error}")
        return old
    if token.value != old.value:
        _write(place, token)
    return token


def _write(place: Path, token: AccessToken) -> None:
    """In one step: a reader finds the old token or the new one, whole."""
    fresh = place.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(token.value)
    fresh.replace(place)


@contextlib.contextmanager
def _forwarding(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Signals go to the program. The terminal's SIGINT reaches it anyway, so here it is only not fatal."""

    def forward(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
