"""The `watchword` command: one binary, help on every verb, exit codes 0 done / 1 failed / 2 wrong use."""

from __future__ import annotations

import typer

from .audit import audit
from .demo import demo
from .doctor import doctor
from .job import curl, run
from .profiles import profiles
from .registry import api, app, key, role, tenant
from .serve import init, serve
from .token import inspect, token

cli = typer.Typer(
    name="watchword",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="An identity for applications: OAuth 2.0 client credentials.",
)
for verb in (init, serve, demo, token, inspect, doctor):
    cli.command()(verb)
for program in (run, curl):
    cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(program)
for name, group in (
    ("app", app),
    ("api", api),
    ("role", role),
    ("key", key),
    ("tenant", tenant),
    ("audit", audit),
    ("profile", profiles),
):
    cli.add_typer(group, name=name)


def main() -> None:
    """The console script."""
    cli()
