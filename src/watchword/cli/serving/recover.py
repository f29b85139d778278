"""`watchword admin recover`: a new administrator, on the server's host, when no credentials of one are left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .. import say
from .audit import Database, user, with_services
from .first_administrator import CannotKeep, keeper, read_public_key
from .serve import _settings, tell

admin = typer.Typer(no_args_is_help=True, help="Administrators, on the server's host: recover.")


@admin.callback()
def _group() -> None:
    """Keeps `recover` a verb of its own while it is the only one."""


@admin.command()
def recover(
    tenant: Annotated[str, typer.Option(help="The tenant that the administrator belongs to")] = "default",
    key_file: Annotated[
        Path | None, typer.Option(help="A public key (PEM, JWK or JWK set) in place of a secret")
    ] = None,
    secret_file: Annotated[Path | None, typer.Option(help="A new file for the secret, in place of a profile")] = None,
    database: Database = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with the secret")] = False,
) -> None:
    """Create an administrator when no credentials of one are left. Needs the database and the master key; audited.

    The server may go on running. Example: watchword admin recover
    """
    from msgspec.structs import replace

    given = {"admin_key_file": str(key_file or ""), "admin_secret_file": str(secret_file or "")}
    settings = replace(_settings({"database_url": database}), **given)
    issuer = f"{settings.base_url}/t/{tenant}"
    seen = json or say.out.is_terminal
    place = keeper(settings, issuer, seen)
    jwks = read_public_key(settings.admin_key_file) if settings.admin_key_file else None

    async def work(services: Any) -> Any:
        from watchword.server.service.registry.recover_administrator import recover_administrator

        made = await recover_administrator(services.desk, tenant, user=user(), keep=place.hold, jwks=jwks)
        await services.upkeep.housekeeping.finish()
        return made

    try:
        made = with_services(database, work)
    except CannotKeep as error:
        say.fail(
            f"cannot keep the secret, so nothing was created: {error}",
            "name a new file with --secret-file, or your public key with --key-file",
        )
    except BaseException:
        place.drop()
        raise
    tell(issuer, made, place.settle(), json, seen)
