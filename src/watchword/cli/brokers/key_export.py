"""`watchword key export`: the issuer's public keys in the form that a server wants which cannot read a JWK set."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from watchword.jose import JoseError, KeySet, PublicKey
from watchword.resource.fetched.fetch import FetchFailed, fetch

from .. import profile, say

MARK: Final = ".watchword-keys"
"""Stands in a folder that we wrote: what is in it may be replaced."""
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
Files = dict[str, str]


class Format(StrEnum):
    """Who is to read the keys."""

    pem = "pem"
    jwk = "jwk"
    jwks = "jwks"
    dovecot = "dovecot"
    rabbitmq = "rabbitmq"
    haproxy = "haproxy"


def key_export(
    format: Annotated[Format, typer.Option(help="Who is to read them")],
    out: Annotated[Path | None, typer.Option(help="Folder for dovecot, rabbitmq and haproxy; it is replaced")] = None,
    kid: Annotated[str | None, typer.Option(help="Only this key; for jwk")] = None,
    issuer: Annotated[str | None, typer.Option(help="Whose keys; else the profile's")] = None,
) -> None:
    """Public keys as PEM or JWK, or as Dovecot, RabbitMQ and HAProxy want them. Repeat it after each rotation."""
    keys = _fetch(issuer or profile.load().issuer)
    if kid is not None:
        keys = [key for key in keys if key.kid == kid]
    if not keys:
        say.fail(f"there is no key {kid}" if kid else "the issuer publishes no key", "see `watchword key list`")
    if format in _TEXTS:
        say.verbatim(_TEXTS[format](keys))
        return
    if out is None:
        raise typer.BadParameter(f"{format} needs --out FOLDER")
    files, lines = _FOLDERS[format](keys, out.absolute())
    _replace(out, files)
    if lines:
        say.verbatim("\n".join(lines) + "\n")
    say.done(f"{len(files)} public keys in {out}")


def _fetch(issuer: str) -> list[PublicKey]:
    try:
        document = fetch(f"{issuer}/jwks", 10, None)
        keys = KeySet.parse(document.body)
    except (FetchFailed, JoseError) as error:
        say.fail(f"the keys of {issuer} cannot be had: {error}", "is WATCHWORD_ISSUER right, and the server running?")
    return sorted(keys.values(), key=lambda key: (key.algorithm.value, key.kid))


def _replace(folder: Path, files: Files) -> None:
    """The folder holds these files and no others: a key that was withdrawn must not stay behind."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        say.fail(f"{folder} has files that are not ours", "name a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("Written by `watchword key export`, which replaces everything in this folder.\n")
    for name, text in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, fresh = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "w") as file:
            os.fchmod(handle, 0o644)  # public keys: the server that reads them is another user
            file.write(text)
        Path(fresh).replace(target)
    for found in [path for path in folder.rglob("*") if path.is_file()]:
        if str(found.relative_to(folder)) not in {*files, MARK}:
            found.unlink()


# -- texts ------------------------------------------------------------------------------------------


def _pem(keys: list[PublicKey]) -> str:
    return "".join(f"# {key.algorithm.value} {key.kid}\n{key.to_pem()}" for key in keys)


def _jwk(keys: list[PublicKey]) -> str:
    if len(keys) > 1:
        raise typer.BadParameter(f"a JWK is one key: say --kid with one of {', '.join(key.kid for key in keys)}")
    return json.dumps(keys[0].to_jwk(), indent=2) + "\n"


def _jwks(keys: list[PublicKey]) -> str:
    return json.dumps(KeySet(keys).to_jwks(), indent=2) + "\n"


# -- folders: files by name, and lines for the server's configuration ---------------------------------


def _dovecot(keys: list[PublicKey], _folder: Path) -> tuple[Files, list[str]]:
    """`default` stands for tokens without `azp`, as ours are; Dovecot knows no EdDSA."""
    return {f"default/{key.algorithm.value}/{_name(key)}": key.to_pem() for key in _without(keys, "EdDSA")}, []


def _rabbitmq(keys: list[PublicKey], folder: Path) -> tuple[Files, list[str]]:
    known = _without(keys)
    files = {f"{_name(key)}.pem": key.to_pem() for key in known}
    lines = [f"auth_oauth2.signing_keys.{key.kid} = {folder / key.kid}.pem" for key in known]
    return files, lines


def _haproxy(keys: list[PublicKey], folder: Path) -> tuple[Files, list[str]]:
    """One rule a key, with the key's own algorithm: the token's header never chooses it (RFC 8725 section 3.1)."""
    chosen = _without(keys, "EdDSA")
    lines = [
        "http-request set-var(txn.signed) int(1)"
        f" if {{ http_auth_bearer,jwt_header_query('$.kid') -m str -- {key.kid} }}"
        f" {{ http_auth_bearer,jwt_verify({key.algorithm.value},{folder / key.kid}.pem) -m int 1 }}"
        for key in chosen
    ]
    return {f"{_name(key)}.pem": key.to_pem() for key in chosen}, lines


def _name(key: PublicKey) -> str:
    """The key's id as a file's name; it came from elsewhere."""
    if not _FILE_NAME.fullmatch(key.kid):
        say.fail(f"the key id {key.kid!r} cannot be a file's name", "is this a Watchword issuer?")
    return key.kid


def _without(keys: list[PublicKey], *unknown: str) -> list[PublicKey]:
    """Nor any ML-DSA: none of these servers knows it."""
    return [key for key in keys if key.algorithm.value not in unknown and not key.algorithm.value.startswith("ML-DSA")]


_TEXTS: Final[dict[Format, Callable[[list[PublicKey]], str]]] = {
    Format.pem: _pem,
    Format.jwk: _jwk,
    Format.jwks: _jwks,
}
_FOLDERS: Final[dict[Format, Callable[[list[PublicKey], Path], tuple[Files, list[str]]]]] = {
    Format.dovecot: _dovecot,
    Format.rabbitmq: _rabbitmq,
    Format.haproxy: _haproxy,
}
