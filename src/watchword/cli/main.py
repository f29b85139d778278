"""The `watchword` command: one binary, help on every verb, exit codes 0 done / 1 failed / 2 wrong use.

Only the verb that is called is loaded: a job that runs `watchword token` each minute does not pay for the console, the
demo and the server.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Final

import typer

VERBS: Final = {
    "init": "serving.serve:init",
    "serve": "serving.serve:serve",
    "demo": "story.demo:demo",
    "token": "job.token:token",
    "enrol": "job.enrol:enrol",
    "run": "job.job:run",
    "curl": "job.job:curl",
    "inspect": "job.inspect:inspect",
    "doctor": "serving.doctor:doctor",
    "export": "serving.instance:export",
    "import": "serving.instance:import_",
    "app": "admin.applications:app",
    "api": "admin.apis:api",
    "role": "admin.roles:role",
    "key": "admin.signing_keys:key",
    "tenant": "admin.tenants:tenant",
    "admin": "serving.recover:admin",
    "audit": "serving.audit:audit",
    "device": "fleet.devices:device",
    "enrolment": "fleet.enrolment:enrolment",
    "registration": "admin.registration:registration",
    "profile": "job.profiles:profiles",
    "broker-config": "brokers.broker_config:broker_config",
    "broker-auth": "brokers.broker_auth:broker_auth",
}
"""Module and name of each verb or group of verbs, in the order of the help."""
_OF_ANOTHER_PROGRAM: Final = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _tell_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"watchword {version('watchword')}\n")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit")
    ] = False,
) -> None:
    """Nothing but the options that stand before a verb."""


def command(*names: str) -> typer.Typer:
    """With these verbs; with all, when one of them is none."""
    cli = typer.Typer(
        name="watchword",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        help="An identity for applications: OAuth 2.0 client credentials.",
    )
    cli.callback()(_options)
    for name in names if names and all(one in VERBS for one in names) else VERBS:
        module, _, attribute = VERBS[name].partition(":")
        verb = getattr(import_module(f".{module}", __package__), attribute)
        if isinstance(verb, typer.Typer):
            cli.add_typer(verb, name=name)
        else:
            settings = _OF_ANOTHER_PROGRAM if module == "job.job" else None
            cli.command(name, context_settings=settings)(verb)
    return cli


def main() -> None:
    """The console script."""
    completing = "_WATCHWORD_COMPLETE" in os.environ
    command(*([] if completing else sys.argv[1:2]))()
