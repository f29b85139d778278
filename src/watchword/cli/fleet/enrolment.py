"""`watchword enrolment`: the groups through which devices enrol."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import say
from ..admin.api_names import grants_of, group_id_of
from ..admin.limits import Rate, read_rate
from ..api_client import AdminClient
from .device_ca import device_ca
from .expected import expect, expected, unexpect
from .pending import approve, deny, pending

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
enrolment = typer.Typer(no_args_is_help=True, help="Let devices enrol themselves: groups and the ways into them.")
enrolment.add_typer(device_ca, name="ca")
for verb in (expect, expected, unexpect, pending, approve, deny):
    enrolment.command()(verb)
_DAY = 86_400
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": _DAY}

Grant = Annotated[list[str] | None, typer.Option(help="API=scope,scope; repeatable")]
Role = Annotated[list[str] | None, typer.Option(help="A role's id; changing the role changes all devices; repeatable")]
Kind = Annotated[str | None, typer.Option(help="service, job or device [default: device]")]
Auth = Annotated[list[str] | None, typer.Option(help="How its devices may authenticate; repeatable")]
Label = Annotated[list[str] | None, typer.Option(help="NAME=VALUE that its devices get; repeatable")]
NamePattern = Annotated[str | None, typer.Option(help="Such as sensor-{serial} [default: device-{id}]")]
MaxDevices = Annotated[int | None, typer.Option(help="How many living devices it may have; 0: no limit")]
ExpiresIn = Annotated[str | None, typer.Option(help="30d, 12h: from then on nobody enrols")]
SecretLife = Annotated[str | None, typer.Option(help="How long their secrets live, such as 365d")]
Bound = Annotated[bool | None, typer.Option("--require-bound/--no-require-bound", help="Only bound tokens for them")]
Way = Annotated[
    list[str] | None,
    typer.Option(help="How devices enrol: code, key, certificate, registration or none; repeatable [default: code]"),
]
Anchors = Annotated[
    Path | None, typer.Option(help="PEM: the authorities that made the devices' certificates (--way certificate)")
]
CertificateLife = Annotated[str | None, typer.Option(help="How long certificates live that we sign, such as 90d")]
Approval = Annotated[
    str | None, typer.Option(help="required: an administrator looks at each device first [default: none]")
]
OnlyExpected = Annotated[
    bool | None, typer.Option("--only-expected/--anybody", help="Only devices on the group's list (expect)")
]


@enrolment.command("create")
def create(
    name: str, grant: Grant = None, role: Role = None, kind: Kind = None, auth: Auth = None, label: Label = None,
    name_pattern: NamePattern = None, max_devices: MaxDevices = None, expires: ExpiresIn = None,
    secret_lifetime: SecretLife = None, require_bound: Bound = None, way: Way = None,
    only_expected: OnlyExpected = None, approval: Approval = None, anchors: Anchors = None,
    certificate_lifetime: CertificateLife = None, rate: Rate = None, json: Json = False,
) -> None:  # fmt: skip
    """Create a group: what a device becomes that enrols through it."""
    client = AdminClient()
    body = _body(
        client, grant=grant, role=role, kind=kind, auth=auth, label=label, name_pattern=name_pattern,
        max_devices=max_devices, expires=expires, secret_lifetime=secret_lifetime, require_bound=require_bound,
        way=way, only_expected=only_expected, approval=approval, anchors=anchors,
        certificate_lifetime=certificate_lifetime, rate=rate,
    )  # fmt: skip
    _show(client.create("/enrolment-groups", {"name": name, **body}), json)


@enrolment.command("update")
def update(
    group: str, rename: Annotated[str | None, typer.Option(help="Its new name")] = None, grant: Grant = None,
    role: Role = None, kind: Kind = None, auth: Auth = None, label: Label = None, name_pattern: NamePattern = None,
    max_devices: MaxDevices = None, expires: ExpiresIn = None, secret_lifetime: SecretLife = None,
    require_bound: Bound = None, way: Way = None, only_expected: OnlyExpected = None, approval: Approval = None,
    anchors: Anchors = None, certificate_lifetime: CertificateLife = None, rate: Rate = None, json: Json = False,
) -> None:  # fmt: skip
    """Change a group, for whoever enrols from now on. What is not named stays."""
    client = AdminClient()
    body = _body(
        client, grant=grant, role=role, kind=kind, auth=auth, label=label, name_pattern=name_pattern,
        max_devices=max_devices, expires=expires, secret_lifetime=secret_lifetime, require_bound=require_bound,
        way=way, only_expected=only_expected, approval=approval, anchors=anchors,
        certificate_lifetime=certificate_lifetime, rate=rate,
    )  # fmt: skip
    if rename is not None:
        body["name"] = rename
    _show(client.call("PATCH", f"/enrolment-groups/{group_id_of(client, group)}", body), json)


@enrolment.command("list")
def list_(json: Json = False) -> None:
    """List the groups."""
    found = AdminClient().items("/enrolment-groups")
    if json:
        say.data(found)
        return
    now = time.time()
    rows = [{**one, "ways": ", ".join(one["ways"]), "state": _state(one, now)} for one in found]
    say.rows(rows, ["group_id", "name", "state", "devices", "max_devices", "ways"])


@enrolment.command("show")
def show(group: str, json: Json = False) -> None:
    """Show one group, by name or id."""
    client = AdminClient()
    _show(client.call("GET", f"/enrolment-groups/{group_id_of(client, group)}"), json)


@enrolment.command("delete")
def delete(group: str) -> None:
    """Delete a group that has no devices any more."""
    client = AdminClient()
    client.call("DELETE", f"/enrolment-groups/{group_id_of(client, group)}")
    say.done(f"deleted {group}")


@enrolment.command("codes")
def codes_(
    group: str,
    count: Annotated[int, typer.Option(help="How many codes")] = 1,
    uses: Annotated[int, typer.Option(help="How many devices may enrol with each")] = 1,
    expires_in: Annotated[int, typer.Option(help="Seconds until they expire")] = 7 * _DAY,
    json: Json = False,
) -> None:
    """Make codes with which devices enrol; they are printed once."""
    client = AdminClient()
    body = {"count": count, "uses": uses, "expires_in": expires_in}
    made = client.create(f"/enrolment-groups/{group_id_of(client, group)}/codes", body)
    if json:
        say.data(made)
        return
    for code in made["codes"]:
        say.line(code)


@enrolment.command("withdraw")
def withdraw(group: str) -> None:
    """Nobody enrols with any code of this group any more; devices that did stay."""
    client = AdminClient()
    client.call("DELETE", f"/enrolment-groups/{group_id_of(client, group)}/codes")
    say.done(f"withdrew the codes of {group}")


def seconds(text: str, option: str) -> int:
    """`7d`, `12h`, `30m`, `90` as seconds. Exits with 2 for anything else."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SECONDS else (text, "s")
    if not number.isascii() or not number.isdigit() or int(number) == 0:
        say.misuse(f"{option} {text!r} is no time", "write 90 (seconds), 30m, 12h or 7d")
    return int(number) * _SECONDS[unit]


def _body(client: AdminClient, **given: Any) -> dict[str, Any]:
    """The members that were named, as the admin API wants them."""
    body: dict[str, Any] = {}
    for option, member in (
        ("kind", "kind"), ("auth", "auth_methods"), ("role", "role_ids"), ("name_pattern", "name_pattern"),
        ("require_bound", "require_bound"), ("only_expected", "only_expected"), ("approval", "approval"),
    ):  # fmt: skip
        if given[option] is not None:
            body[member] = given[option]
    if given["grant"] is not None:
        body["grants"] = grants_of(client, given["grant"])
    if given["label"] is not None:
        body["labels"] = dict(_pair(one) for one in given["label"])
    if given["max_devices"] is not None:
        body["max_devices"] = given["max_devices"] or None
    if given["expires"] is not None:
        body["expires_at"] = int(time.time()) + seconds(given["expires"], "--expires")
    if given["secret_lifetime"] is not None:
        body["secret_lifetime"] = seconds(given["secret_lifetime"], "--secret-lifetime")
    if given["rate"] is not None:
        body["rate_limit"] = read_rate(given["rate"])
    if given["certificate_lifetime"] is not None:
        body["certificate_lifetime"] = seconds(given["certificate_lifetime"], "--certificate-lifetime")
    if given["anchors"] is not None:
        body["anchors"] = _pem(given["anchors"])
    if given["way"] is not None:
        body["ways"] = [one for one in given["way"] if one != "none"]
    return body


def _pem(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        say.fail(f"cannot read {path}", "name a file that holds certificates of authorities in PEM")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        say.misuse(f"--label {text!r} has no '='", "write --label NAME=VALUE")
    return name, value


def _state(one: dict[str, Any], now: float) -> str:
    if one["expires_at"] is not None and one["expires_at"] <= now:
        return "expired"
    return "full" if one["max_devices"] is not None and one["devices"] >= one["max_devices"] else "open"


def _show(group: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say.data(group)
        return
    for name, value in group.items():
        say.line(f"{name:20} {value!s}")
