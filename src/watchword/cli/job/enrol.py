"""`watchword enrol`: what a device runs the first time that it is switched on, and when its certificate grows old.

Everything is safe to run again: what names the device is written before the first request, and the server knows it.
"""

from __future__ import annotations

import json as json_
import os
import secrets
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from watchword.client import (
    CertificateFor,
    Claim,
    ClientCertificate,
    Device,
    EnrolmentPending,
    TokenError,
    TokenUnavailable,
    from_file,
)
from watchword.client import enrol as enrolled
from watchword.client import renew_certificate as renewed
from watchword.client.sources import SecretSource

from .. import say
from ..fleet.enrolment import seconds
from ..profile import DEFAULT, Profile, Profiles, keep
from ..profile import issuer as known_issuer

CODE = "WATCHWORD_ENROLMENT_CODE"


def enrol(
    file: Annotated[Path, typer.Option(help="Where the device's credentials go, mode 0600: a profile")],
    issuer: Annotated[str | None, typer.Option(help="The issuer's URL [default: WATCHWORD_ISSUER]")] = None,
    code: Annotated[str | None, typer.Option(help=f"The code; others can list it, so rather set {CODE}")] = None,
    code_file: Annotated[Path | None, typer.Option(help="A file that holds the code")] = None,
    group: Annotated[str | None, typer.Option(help="The group that takes the manufacturer's certificate")] = None,
    claim_cert: Annotated[Path | None, typer.Option(help="The manufacturer's certificate, PEM")] = None,
    claim_key: Annotated[Path | None, typer.Option(help="Its key, PEM")] = None,
    key: Annotated[Path | None, typer.Option(help="The device's own key, PEM; made when it is not there")] = None,
    cert: Annotated[Path | None, typer.Option(help="Get a certificate for that key, and write it here")] = None,
    serial: Annotated[str | None, typer.Option(help="The device's serial number")] = None,
    wait: Annotated[str, typer.Option(help="How long to wait for an administrator, such as 1h")] = "",
    renew: Annotated[bool, typer.Option("--renew", help="Get the next certificate, with the one that is good")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, without the secret")] = False,
) -> None:
    """Get this device an identity. Run it again after any failure. Exit 75: an administrator has to look first."""
    if renew:
        _renew(file, json)
        return
    where = issuer or known_issuer()
    if where is None:
        say.misuse("which issuer?", "say --issuer URL, or set WATCHWORD_ISSUER")
    if cert is not None and key is None:
        say.misuse("a certificate is for a key", "say --key FILE")
    if file.exists():
        say.fail(f"{file} exists: this device has an identity", "remove it first, if it is to be another device")
    claim = _claim(group, claim_cert, claim_key)
    given = _code(code, code_file) if claim is None else None
    if key is not None:
        _make_key(key)
    kept = _kept(file)
    known: dict[str, Any] = {"ticket": kept["ticket"]} if kept.get("ticket") and given else {"code": given}
    try:
        device = enrolled(
            where, claim=claim, key=_source(key, certified=cert is not None), serial=serial,
            enrolment_id=kept["enrolment_id"], wait=seconds(wait, "--wait") if wait else 0.0, **known,
        )  # fmt: skip
    except EnrolmentPending as pending:
        _keep(file, {**kept, "ticket": pending.ticket or ""})
        say.fail(str(pending), "run the same command again, or say --wait", code=say.TRY_LATER)
    except (TokenError, ValueError) as error:
        _failed(error)
    _write(file, device, key, cert)
    _place(file).unlink(missing_ok=True)
    _tell(device, file, json)


def _claim(group: str | None, certificate: Path | None, key: Path | None) -> Claim | None:
    if (group is None) != (certificate is None):
        say.misuse("a group takes the manufacturer's certificate", "say --group and --claim-cert, or neither")
    if group is None or certificate is None:
        return None
    return Claim(group, ClientCertificate(certificate, key or certificate))


def _source(key: Path | None, *, certified: bool) -> SecretSource | CertificateFor | None:
    if key is None:
        return None
    return CertificateFor(from_file(key)) if certified else from_file(key)


def _code(code: str | None, file: Path | None) -> str | None:
    if file is None:
        return code or os.environ.get(CODE) or None
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        say.fail(f"cannot read {file}", "name a file that holds the code")


def _make_key(place: Path) -> None:
    """An ES256 key, whole and with its mode from the first byte; one that is there stays."""
    from watchword.jose import Algorithm, PrivateKey

    if not place.exists():
        _put(place, PrivateKey.generate(Algorithm.ES256).to_pem().decode(), 0o600)


def _kept(file: Path) -> dict[str, str]:
    """By what the server knows this device: written before the first request."""
    place = _place(file)
    try:
        found: dict[str, str] = json_.loads(place.read_text())
        return {"enrolment_id": str(found["enrolment_id"]), "ticket": str(found.get("ticket", ""))}
    except FileNotFoundError:
        made = {"enrolment_id": secrets.token_urlsafe(16), "ticket": ""}
        _keep(file, made)
        return made
    except (OSError, ValueError, KeyError, TypeError):
        say.fail(f"{place} is not what this command wrote", "remove it: the device begins anew then")


def _keep(file: Path, kept: dict[str, str]) -> None:
    _put(_place(file), json_.dumps(kept), 0o600)


def _place(file: Path) -> Path:
    return file.with_name(f"{file.name}.enrolling")


def _write(file: Path, device: Device, key: Path | None, cert: Path | None) -> None:
    if cert is not None and device.certificate is not None:
        _put(cert, device.certificate, 0o644)
    own = device.client_secret is None
    profile = Profile(
        issuer=device.issuer, client_id=device.client_id,
        client_secret=device.client_secret.reveal() if device.client_secret is not None else "",
        client_certificate_file=str(cert.absolute()) if own and cert is not None else "",
        client_key_file=str(key.absolute()) if own and key is not None else "",
    )  # fmt: skip
    keep(Profiles({DEFAULT: profile}), file)


def _renew(file: Path, json: bool) -> None:
    """In place; the certificate that is there counts until it expires."""
    from .. import profile

    known = profile.read(file).named.get(DEFAULT, Profile())
    certificate = known.proof() if known.proves_itself() else None
    if not isinstance(certificate, ClientCertificate):
        say.fail(f"{file} names no certificate", "only a device that enrolled with --cert renews")
    try:
        device = renewed(known.issuer, known.client_id, certificate, from_file(known.client_key_file))
    except (TokenError, ValueError) as error:
        _failed(error)
    _put(Path(known.client_certificate_file), device.certificate or "", 0o644)
    _tell(device, file, json)


def _failed(error: Exception) -> None:
    if isinstance(error, TokenUnavailable):
        say.fail(f"not enrolled: {error}", "run the same command again: it is the same device", code=say.TRY_LATER)
    say.fail(f"not enrolled: {error}")


def _put(place: Path, text: str, mode: int) -> None:
    """Its mode from the first byte, on disk, and whole or not at all."""
    handle, fresh = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    with os.fdopen(handle, "w") as file:
        os.fchmod(handle, mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(fresh).replace(place)


_USABLE = ("client_secret_basic", "private_key_jwt", "tls_client_auth")


def _tell(device: Device, file: Path, json: bool) -> None:
    if device.auth_method not in _USABLE:
        say.warn(f"the device proves itself by {device.auth_method}, which this command line does not speak")
    if json:
        say.data({
            "client_id": device.client_id, "client_name": device.name, "auth_method": device.auth_method,
            "certificate_expires_at": device.certificate_expires_at, "file": str(file),
        })  # fmt: skip
        return
    say.done(f"{device.client_id}: WATCHWORD_PROFILE={file} watchword token")
