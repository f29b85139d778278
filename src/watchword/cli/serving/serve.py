"""`watchword init` and `watchword serve`."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from .. import say
from .first_administrator import CannotKeep, keeper, read_public_key


def _settings(flags: dict[str, Any]) -> Any:
    from watchword.server.config import SettingsError, load

    _quiet_log()
    try:
        return load(flags)
    except SettingsError as error:
        say.bad(f"{error}")
        raise typer.Exit(2) from None


def _quiet_log() -> None:
    """The server's log lines of a command: warnings, to standard error. Standard output is the command's answer."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _initialise(settings: Any, as_json: bool) -> bool:
    """Make what is missing; True when that was all of it, and the administrator's credentials are told then."""
    from watchword.jose.sealing import SealBroken
    from watchword.server.app import initialise
    from watchword.server.registry.errors import RegistryError
    from watchword.server.service.ports import StorageUnavailable
    from watchword.server.storage.open import StartRefused

    issuer = f"{settings.base_url}/t/default"
    seen = as_json or say.out.is_terminal
    place = keeper(settings, issuer, seen)
    jwks = read_public_key(settings.admin_key_file) if settings.admin_key_file else None
    try:
        first = asyncio.run(initialise(settings, keep=place.hold, jwks=jwks))
    except CannotKeep as error:
        say.fail(
            f"cannot keep the administrator's secret, so nothing was created: {error}",
            "set WATCHWORD_ADMIN_SECRET_FILE to a new file, or WATCHWORD_ADMIN_KEY_FILE to your public key",
        )
    except RegistryError as error:
        place.drop()
        say.fail(f"{settings.admin_key_file or 'the first administrator'}: {error.public}")
    except (StartRefused, SealBroken, PermissionError, ValueError) as error:
        place.drop()
        say.fail(str(error))
    except (StorageUnavailable, OSError) as error:
        place.drop()
        say.fail(f"the database is away: {error}", "check WATCHWORD_DATABASE_URL")
    if first is None:
        place.drop()
        return False
    tell(issuer, first, place.settle(), as_json, seen)
    say.note(f"Back up {settings.master_key_file} apart from the database: without it the keys are lost.")
    return True


def tell(issuer: str, made: Any, kept: str, as_json: bool, seen: bool) -> None:
    """The new administrator's credentials; the secret only to a terminal or as JSON, for other output goes to logs."""
    shown = {"issuer": issuer, "client_id": made.client_id}
    if made.client_secret and seen:
        shown["client_secret"] = made.client_secret
    if as_json:
        say.data({**shown, "kept": kept})
        return
    say.done("a new administrator exists")
    for name, value in shown.items():
        say.line(f"{name:14} {value}")
    say.note(f"{kept}")


def init(
    database: Annotated[str | None, typer.Option(help="sqlite:///path or postgresql://...")] = None,
    public_url: Annotated[str | None, typer.Option(help="The base that issuers derive from")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Create database, master key, tenant, signing keys and the first admin application."""
    settings = _settings({"database_url": database, "public_url": public_url})
    if not _initialise(settings, json):
        if json:
            say.data({"created": False})
        say.done("already initialised; nothing was changed")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes")] = None,
    database: Annotated[str | None, typer.Option(help="sqlite:///path or postgresql://...")] = None,
    public_url: Annotated[str | None, typer.Option(help="The base that issuers derive from")] = None,
    tls_cert: Annotated[str | None, typer.Option(help="Certificate chain, PEM")] = None,
    tls_key: Annotated[str | None, typer.Option(help="Private key, PEM")] = None,
    client_ca: Annotated[
        str | None, typer.Option(help="Ask callers for a certificate that one of these (PEM) vouches for")
    ] = None,
    client_cert: Annotated[str | None, typer.Option(help="optional or required")] = None,
    client_cert_header: Annotated[
        str | None, typer.Option(help="From --trusted-proxy: client-cert or x-forwarded-client-cert")
    ] = None,
    mtls_url: Annotated[str | None, typer.Option(help="The base under which callers are asked for one")] = None,
    dev_tls: Annotated[
        bool | None, typer.Option("--dev-tls", help="https on loopback, by a development CA made here")
    ] = None,
    behind_proxy: Annotated[bool | None, typer.Option("--behind-proxy", help="TLS ends at a proxy before us")] = None,
    trusted_proxy: Annotated[list[str] | None, typer.Option(help="A proxy whose forwarded headers count")] = None,
    coap: Annotated[
        str | None, typer.Option(help="HOST:PORT for tokens over CoAP (RFC 9200), loopback; needs watchword[coap]")
    ] = None,
    coap_insecure: Annotated[
        bool | None, typer.Option("--coap-insecure", help="--coap beyond loopback: readable there, secrets refused")
    ] = None,
    debug: Annotated[bool | None, typer.Option("--debug", help="Log more; loopback only")] = None,
) -> None:
    """Run the server; an empty directory is initialised first."""
    flags = {
        "host": host, "port": port, "workers": workers, "database_url": database, "public_url": public_url,
        "tls_cert": tls_cert, "tls_key": tls_key, "dev_tls": dev_tls, "behind_proxy": behind_proxy, "debug": debug,
        "client_ca": client_ca, "client_cert": client_cert, "client_cert_header": client_cert_header,
        "mtls_url": mtls_url, "coap": coap, "coap_insecure": coap_insecure,
        "trusted_proxies": tuple(trusted_proxy) if trusted_proxy else None,
    }  # fmt: skip
    settings = _settings(flags)
    if settings.coap and find_spec("aiocoap") is None:
        say.fail("--coap needs aiocoap, which is not installed", "pip install 'watchword[server,coap]'")
    _initialise(settings, False)
    if settings.dev_tls:
        settings = _with_development_ca(settings)
    say.done(f"serving {settings.base_url}/t/default with {settings.workers} worker(s)")
    if settings.coap:
        say.done(f"tokens over CoAP at coap://{settings.coap}/t/default/token")
    _run(settings)


def _with_development_ca(settings: Any) -> Any:
    """The settings with a certificate of our own CA, in `dev-tls` beside the master key."""
    from watchword.jose.development_ca import development_certificate

    folder = Path(settings.master_key_file).absolute().parent / "dev-tls"
    try:
        ca, certificate, key = development_certificate(folder, time.time())
    except (OSError, ValueError) as error:
        say.fail(f"no development certificate: {error}", f"remove {folder} and start again")
    say.done(f"https by a development CA for loopback names; clients trust it with SSL_CERT_FILE={ca}")
    return msgspec.structs.replace(settings, tls_cert=str(certificate), tls_key=str(key))


def _run(settings: Any) -> None:
    from watchword.server.serving.run import run

    try:
        run(settings)
    except SystemExit as ended:
        raise typer.Exit(1 if ended.code else 0) from None
