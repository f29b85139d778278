"""`watchword tenant anchors`, and certificates as `watchword app create` takes them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import say
from ..api_client import AdminClient

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
anchors = typer.Typer(
    no_args_is_help=True, help="The authorities that vouch for certificates of tls_client_auth applications."
)
_SHOWN = ["thumbprint", "subject", "expires"]


def read_certificates(path: Path) -> dict[str, Any]:
    """A JWK set of the certificates' keys, each pinned to its certificate."""
    from watchword.jose.certificates import UnacceptableCertificate, read_pem

    try:
        return {"keys": [certificate.to_jwk() for certificate in read_pem(path.read_bytes())]}
    except OSError as error:
        say.fail(f"cannot read {path}: {error.strerror}", "name a file that holds a certificate in PEM")
    except UnacceptableCertificate as error:
        say.fail(f"{path}: {error.rule}", "name a file that holds a certificate in PEM")


def _show(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        say.data(found)
    else:
        rows = [{**one, "expires": time.strftime("%Y-%m-%d", time.gmtime(one["expires_at"]))} for one in found]
        say.rows(rows, _SHOWN)


@anchors.command("list")
def anchors_list(json: Json = False) -> None:
    """List them."""
    _show(AdminClient().items("/trust-anchors"), json)


@anchors.command("add")
def anchors_add(
    pem: Annotated[Path, typer.Argument(help="A file with certificates of authorities, PEM")], json: Json = False
) -> None:
    """Trust one or more authorities from now on."""
    try:
        text = pem.read_text()
    except (OSError, UnicodeDecodeError):
        say.fail(f"cannot read {pem}", "name a file that holds certificates in PEM")
    made = AdminClient().create("/trust-anchors", {"pem": text})
    if json:
        say.data(made)
    else:
        _show(made["items"], False)


@anchors.command("remove")
def anchors_remove(thumbprint: str) -> None:
    """Trust an authority no more, from now on."""
    AdminClient().call("DELETE", f"/trust-anchors/{thumbprint}")
    say.done(f"removed {thumbprint}")
