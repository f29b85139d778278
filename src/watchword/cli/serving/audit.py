"""`watchword audit tail|export|verify|accept-restore|prune`: on the server's machine, straight from the database."""

from __future__ import annotations

import asyncio
import os
import pwd
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from .. import say
from .first_administrator import CannotKeep
from .serve import _settings

audit = typer.Typer(no_args_is_help=True, help="The audit log: tail, export, verify, accept-restore, prune.")
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
    count: Annotated[int, typer.Option("-n", min=1, max=100_000, help="How many events")] = 20,
    event: Annotated[str, typer.Option(help="Only this type, such as ApplicationUpdated")] = "",
    client_id: Annotated[str, typer.Option(help="Only what this application caused, or what is about it")] = "",
    request_id: Annotated[str, typer.Option(help="Only this request")] = "",
    since: Annotated[str, typer.Option(help="From this date or time on (ISO 8601, UTC)")] = "",
    until: Annotated[str, typer.Option(help="Before this date or time (ISO 8601, UTC)")] = "",
    database: Database = None,
) -> None:
    """Print the newest events, the newest last, one JSON object a line.

    Example: watchword audit tail --event ApplicationUpdated --since 2026-01-31
    """
    from watchword.server.audit.search import EVENT_NAMES, Wanted

    if event and event not in EVENT_NAMES:
        raise typer.BadParameter(f"there is no event {event}", param_hint="--event")
    wanted = Wanted(
        event=event, client_id=client_id, request_id=request_id,
        since=_moment(since, "--since") if since else None, until=_moment(until, "--until") if until else None,
    )  # fmt: skip

    async def work(log: Any, tenant_id: str) -> None:
        found: list[Any] = []
        after = None
        while len(found) < count:
            page = await log.search(tenant_id, wanted, after, min(count - len(found), 500))
            found += page.events
            after = page.following
            if after is None:
                break
        for each in reversed(found):
            say.json_line(msgspec.json.encode(each))

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
    expect: Annotated[
        str | None, typer.Option(help="A checkpoint NUMBER:HASH that you kept elsewhere: it must be in the log")
    ] = None,
    database: Database = None,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Verify the audit log, and print its newest checkpoint. Exit 1 if a row was altered, removed, added or reordered.

    Example: watchword audit verify --expect 57:9f2c...
    """
    expected = _checkpoint(expect)
    found = _with_log(database, tenant, lambda log, tenant_id: log.verify(tenant_id, expected))
    if json:
        say.data(msgspec.to_builtins(found))
    for each in found.breaks:
        place = f"checkpoint {each.seq}" if each.chain == "checkpoints" else f"chain {each.chain} row {each.seq}"
        say.bad(f"{place}: {each.why}")
    for line in _remarks(found):
        say.note(line)
    if found.breaks:
        raise typer.Exit(1)
    say.done(f"{found.rows} rows, every chain holds")
    if found.newest and not json:
        say.line(f"checkpoint {found.newest}")


def _checkpoint(expect: str | None) -> Any:
    from watchword.server.audit.checkpoints import place_of

    try:
        return place_of(expect) if expect else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expect") from None


def _remarks(found: Any) -> list[str]:
    """What is not wrong, and still not proven."""
    lines = [
        f"a restored backup was accepted at {_time(at)}: the checkpoints {first} to {last} are lost"
        for at, first, last in found.restores
    ]
    if found.unsigned:
        lines.append(
            f"{found.unsigned} rows are not covered by a checkpoint yet, the oldest of {_time(found.unsigned_since)}: "
            "the newest of these rows could be missing unseen. A running server signs them"
        )
    if found.without_mac:
        lines.append(f"{found.without_mac} rows are from an older version: checkpoints alone vouch for them")
    if not found.epoch:
        lines.append("there is no epoch beside the master key: an old copy of the database shows with --expect only")
    return lines


@audit.command("accept-restore")
def accept_restore(database: Database = None) -> None:
    """Go on from a restored backup. Recorded in the audit log of every tenant.

    `serve` refuses a database that is older than the epoch beside the master key. Run this if you have restored a
    backup on purpose. Afterwards repeat what was revoked, rotated and disabled since the backup.
    Example: watchword audit accept-restore
    """

    async def work(services: Any) -> Any:
        from watchword.server.service.upkeep.accept_restore import accept_restore

        lost = await accept_restore(services.upkeep.checkpoints, services.storage.store, services.world.clock, user())
        await services.upkeep.housekeeping.finish()
        return lost

    lost = with_services(database, work)
    if lost is None:
        say.done("the database is not older than the epoch; nothing was changed")
        return
    say.done(f"accepted: the audit log of the checkpoints {lost.first} to {lost.last} is lost")
    say.note("Withdraw signing keys, revoke secrets and disable applications again, if that was done since.")


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


def _moment(text: str, option: str = "--before") -> float:
    """Seconds since the epoch."""
    from watchword.server.audit.search import moment

    try:
        return moment(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is not a date such as 2026-01-31", param_hint=option) from None


def _time(at: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def user() -> str:
    """Who runs this command, as the host names it; a number where it has no name."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
