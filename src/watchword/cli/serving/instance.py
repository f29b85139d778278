"""`watchword export FILE` and `watchword import instance FILE`: a whole instance moves to an empty one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import say
from ..admin.appid import import_appid
from .serve import _settings

import_ = typer.Typer(
    no_args_is_help=True, help="Bring something along: an exported instance, or applications from IBM Cloud App ID."
)
import_.command("appid")(import_appid)
Database = Annotated[str | None, typer.Option(help="sqlite:///path or postgresql://...")]


def export(
    file: Annotated[Path, typer.Argument(help="Where to write; must not exist")],
    database: Database = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Write tenants, applications, APIs, roles and keys to a file that only this master key opens.

    Secrets are in it as HMACs and signing keys sealed, both bound to the master key: to import it, take the
    key file along as well, by another way. The audit log is not in it (`watchword audit export`).
    """
    settings = _settings({"database_url": database})
    if file.exists():
        say.fail(f"{file} exists", "name a new file")
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.part")

    async def go() -> int:
        from watchword.server.composition.services import open_services

        services = await open_services(settings)
        try:
            handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as out, say.counting("records written") as progress:
                count: int = await services.upkeep.export(out, progress)
                out.flush()
                os.fsync(out.fileno())
            await services.upkeep.housekeeping.finish()
            return count
        finally:
            await services.storage.close()

    try:
        count = _run(go())
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)
    if json:
        say.data({"records": count, "file": str(file)})
    say.done(f"{count} records are in {file} (mode 0600); only {settings.master_key_file} opens it")


@import_.command("instance")
def import_instance(
    file: Annotated[Path, typer.Argument(help="What `watchword export` wrote")],
    database: Database = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Fill an empty database from an export: all of it, or nothing.

    The master key file must be the one of the exported instance, and stands in place before.
    """
    settings = _settings({"database_url": database})
    if not Path(settings.master_key_file).exists():
        say.fail(
            f"there is no master key at {settings.master_key_file}",
            "copy the exported instance's key file there first (mode 0600)",
        )

    async def go() -> int:
        from watchword.server.app import import_instance

        with file.open("rb") as source, say.counting("records read") as progress:
            return await import_instance(settings, source, progress)

    count = _run(go())
    if json:
        say.data({"records": count})
    say.done(f"{count} records imported; `watchword serve` continues where the exported instance stood")


def _run(work: Any) -> Any:
    from watchword.jose.sealing import SealBroken
    from watchword.server.registry.errors import RegistryError
    from watchword.server.service.ports import StorageUnavailable
    from watchword.server.service.upkeep.export_file import DamagedExport
    from watchword.server.storage.open import StartRefused

    try:
        return asyncio.run(work)
    except (DamagedExport, StartRefused, SealBroken, ValueError) as error:
        say.fail(str(error), "nothing was changed")
    except RegistryError as error:
        say.fail(error.public, "nothing was changed")
    except StorageUnavailable as error:
        say.fail(f"the database is away: {error}", "check WATCHWORD_DATABASE_URL; has `watchword init` run?")
    except OSError as error:
        say.fail(str(error))
