"""The `watchword` command: one binary, help on every verb, exit codes 0 done / 1 failed / 2 wrong use."""

from __future__ import annotations

import typer

from .appid import import_appid
from .audit import audit
from .broker_auth import broker_auth
from .broker_config import broker_config
from .demo import demo
from .device_ca import device_ca
from .devices import device
from .doctor import doctor
from .enrol import enrol
from .enrolment import enrolment
from .expected import expect, expected, unexpect
from .export import key_export
from .inspect import inspect
from .instance import export, import_
from .job import curl, run
from .pending import approve, deny, pending
from .profiles import profiles
from .quarantine import quarantine, release
from .registration import registration
from .registry import api, app, key, role
from .serve import init, serve
from .tenants import tenant
from .token import token

cli = typer.Typer(
    name="watchword",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="An identity for applications: OAuth 2.0 client credentials.",
)
import_.command("appid")(import_appid)
for verb in (init, serve, demo, token, enrol, inspect, doctor, export):
    cli.command()(verb)
key.command("export")(key_export)
app.command("quarantine")(quarantine)
app.command("release")(release)
enrolment.add_typer(device_ca, name="ca")
enrolment.command()(expect)
enrolment.command()(expected)
enrolment.command()(unexpect)
enrolment.command()(pending)
enrolment.command()(approve)
enrolment.command()(deny)
for program in (run, curl):
    cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(program)
for name, group in (
    ("app", app),
    ("api", api),
    ("role", role),
    ("key", key),
    ("tenant", tenant),
    ("audit", audit),
    ("broker-config", broker_config),
    ("broker-auth", broker_auth),
    ("import", import_),
    ("profile", profiles),
    ("registration", registration),
    ("enrolment", enrolment),
    ("device", device),
):
    cli.add_typer(group, name=name)


def main() -> None:
    """The console script."""
    cli()
