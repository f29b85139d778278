"""`watchword audit tail|export|verify`: read on the server's machine, straight from the database."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import msgspec
import typer

from . import say
from .serve import _settings

audit = typer.Typer(no_args_is_help=True, help="The audit log: tail, export, verify.")
Tenant = Annotated[str, typer.Option(help="Whose log")]
Database = Annotated[str | None, typer.Option(help="sqlite:///path or postgresql://...")]


def _with_log(database: str | None, slug: str, work: Any) -> Any:
    from watchword.server.app import open_services

    settings = _settings({"database_url": database})

    async def go() -> Any:
        services = await open_services(settings)
        try:
            found = await services.view.tenant(slug)
            if found is None:
                say.fail(f"there is no tenant {slug}")
            return await work(services.audit, found.tenant.tenant_id)
        finally:
            await services.storage.close()

    try:
        return asyncio.run(go())
    except typer.Exit:
        raise
    except Exception as error:
        say.fail(f"cannot read the audit log: {error}")


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
                sys.stdout.write(msgspec.json.encode(event).decode() + "\n")

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
            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")

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
        say.err.print(f"[red]✗[/red] chain {found.chain} row {found.seq}: {found.why}")
    if breaks:
        raise typer.Exit(1)
    say.done(f"{count} rows, every chain holds")
