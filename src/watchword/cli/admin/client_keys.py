"""`watchword app keys`: the public keys that an application proves itself with."""

from __future__ import annotations

import json as text
import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from .. import say
from ..api_client import AdminClient

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
keys = typer.Typer(
    no_args_is_help=True, help="The public keys of a private_key_jwt application: new, list, add, remove."
)


def read_jwks(path: Path) -> dict[str, Any]:
    """A JWK set from a file that holds one, or a single JWK."""
    try:
        found = text.loads(path.read_text())
    except OSError as error:
        say.fail(f"cannot read {path}: {error.strerror}", "name a file that holds a JWK or a JWK set")
    except ValueError:
        say.fail(f"{path} is not JSON", "name a file that holds a JWK or a JWK set")
    if not isinstance(found, dict):
        say.fail(f"{path} holds no JWK", "name a file that holds a JWK or a JWK set")
    return found if "keys" in found else {"keys": [found]}


@keys.command("new")
def keys_new(
    file: Annotated[Path, typer.Argument(help="Where the private key goes, PEM, mode 0600; must not exist")],
    alg: Annotated[str, typer.Option(help="ES256, EdDSA")] = "ES256",
) -> None:
    """Make a key pair here: the private half stays in FILE, the public one is printed, for `--jwks` or `keys add`."""
    from watchword.jose import Algorithm, PrivateKey

    if alg not in ("ES256", "EdDSA"):
        say.misuse(f"{alg} is not made here", "use ES256 or EdDSA; others: openssl genpkey")
    pair = PrivateKey.generate(Algorithm(alg))
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        say.fail(f"{file}: {error.strerror}", "name a new file in a folder that you may write to")
    with os.fdopen(handle, "wb") as opened:
        opened.write(pair.to_pem())
    say.data(pair.public.to_jwk())


@keys.command("list")
def keys_list(client_id: str, json: Json = False) -> None:
    """List its keys, or where they stand."""
    found = AdminClient().call("GET", f"/applications/{client_id}")
    listed = (found["jwks"] or {"keys": []})["keys"]
    if json:
        say.data(listed)
    elif found["jwks_uri"]:
        say.done(f"its keys stand at {found['jwks_uri']}")
    else:
        say.rows(listed, ["kid", "kty", "alg"])


@keys.command("add")
def keys_add(
    client_id: str,
    jwks: Annotated[Path, typer.Argument(help="A file with one or more public JWKs")],
    json: Json = False,
) -> None:
    """Add keys; they work beside the older ones at once."""
    client, shown = AdminClient(), None
    for jwk in read_jwks(jwks)["keys"]:
        shown = client.create(f"/applications/{client_id}/keys", {"jwk": jwk})
    if shown is None:
        say.fail(f"{jwks} holds no key", "name a file that holds a JWK or a JWK set")
    if json:
        say.data(shown["jwks"]["keys"])
    else:
        say.rows(shown["jwks"]["keys"], ["kid", "kty", "alg"])


@keys.command("remove")
def keys_remove(client_id: str, kid: str) -> None:
    """Remove a key at once; the last one cannot be removed."""
    AdminClient().call("DELETE", f"/applications/{client_id}/keys/{quote(kid, safe='')}")
    say.done(f"removed {kid}")
