"""`watchword audit tail|export|verify|prune`: on the server's machine, straight from the database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from .. import say
from .first_administrator import CannotKeep
from .serve import _settings

audit = typer.Typer(no_args_is_help=True, help="The audit log: tail, export, verify, prune.")
Tenant = Annotated[str, typer.Option(help="Whose log")]
Database = Annotated[str | None, typer.Option(help="sqlite:///path or postgresql://...")]


def with_services(database: str | None, work: Any) -> Any:
    from watchword.server.composition.services import open_services
    from watchword.server.registry.errors import RegistryError

    settings = _settings({"database_url": database})

    async def go() -> Any:
        services = await open_services(settings)
        try:
            return await work(services)
        finally:
            await services.storage.close()

    try:
        return asyncio.run(go())
    except (typer.Exit, CannotKeep):
        raise
    except RegistryError as error:
        say.fail(error.public)
    except Exception as error:
        say.fail(f"cannot work on the audit log: {error}", "is this the right database? has `watchword init` run?")


def _with_log(database: str | None, slug: str, work: Any) -> Any:
    async def find(services: Any) -> Any:
        found = await services.view.tenant(slug)
        if found is None:
            say.fail(f"there is no tenant {slug}")
        return await work(services.upkeep.audit, found.tenant.tenant_id)

    return with_services(database, find)


@audit.command()
def tail(
    tenant: Tenant = "default",
    count: Annotated[int, typer.Option("-n", help="How many commits")] = 20,
    database: Database = None,
) -> None:
    """The newest events, one JSON object a line."""
    from watchword.server.audit.chain import events_of

    async def work(log: Any, tenant_id: str) -> None:
        for row in reversed(await log.recent(tenant_id, count)):
            for event in events_of(row):
                say.json_line(msgspec.json.encode(event))

    _with_log(database, tenant, work)


@audit.command()
def export(tenant: Tenant = "default", database: Database = None) -> None:
    """All rows as JSON lines, with chain, sequence and hash, so that others can verify them."""

    async def work(log: Any, tenant_id: str) -> None:
        async for row in log.rows(tenant_id):
            line = {
                "chain": row.chain,
                "seq": row.seq,
                "at": row.at,
                "hash": row.hash,
                "payload": row.payload.decode(),
            }
            say.json_line(msgspec.json.encode(line))

    _with_log(database, tenant, work)


@audit.command()
def verify(
    tenant: Tenant = "default",
    database: Database = None,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Exit 1 and name the row when one was altered, removed or reordered."""
    count, breaks = _with_log(database, tenant, lambda log, tenant_id: log.verify(tenant_id))
    if json:
        say.data({"rows": count, "breaks": [msgspec.to_builtins(b) for b in breaks]})
    for found in breaks:
        say.bad(f"chain {found.chain} row {found.seq}: {found.why}")
    if breaks:
        raise typer.Exit(1)
    say.done(f"{count} rows, every chain holds")


@audit.command()
def prune(
    before: Annotated[str, typer.Option(help="A date or time in ISO 8601, UTC unless it says otherwise")],
    database: Database = None,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Remove the events of all tenants that are older than a date. Recorded, and `verify` still holds."""
    cut = _moment(before)

    async def work(services: Any) -> int:
        with say.counting("rows removed") as progress:
            removed: int = await services.upkeep.prune_audit(cut, progress)
        await services.upkeep.housekeeping.finish()
        return removed

    removed = with_services(database, work)
    if json:
        say.data({"rows": removed, "before": cut})
    say.done(f"{removed} rows older than {before} removed")


def _moment(text: str) -> float:
    """Seconds since the epoch."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date such as 2026-01-31", param_hint="--before") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
