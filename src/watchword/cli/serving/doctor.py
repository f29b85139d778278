"""`watchword doctor`: checks a deployment and says what to do."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import say
from .serve import _settings


def doctor(
    database: Annotated[str | None, typer.Option(help="sqlite:///path or postgresql://...")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Clock, TLS, keys, database, permissions; exit 1 when something needs a hand."""
    settings = _settings({"database_url": database})
    checks = [
        ("settings", "", True),
        _clock(),
        _key_file(Path(settings.master_key_file)),
        *_database(settings),
    ]
    if settings.base_url.startswith("http://"):
        checks.append(("TLS", "plain HTTP: fine on loopback only; give --tls-cert and --tls-key elsewhere", True))
    if json:
        say.data([{"check": name, "good": good, "advice": advice} for name, advice, good in checks])
    else:
        for name, advice, good in checks:
            (say.done if good else say.bad)(f"{name}{': ' + advice if advice else ''}")
    if not all(good for _, _, good in checks):
        raise typer.Exit(1)


def _clock() -> tuple[str, str, bool]:
    good = 1_700_000_000 < time.time() < 4_000_000_000
    return "clock", "" if good else "this machine's clock is far off: run an NTP client", good


def _key_file(path: Path) -> tuple[str, str, bool]:
    from watchword.jose.sealing import load_master_key

    try:
        load_master_key(path)
    except FileNotFoundError:
        return "master key", f"{path} is missing: `watchword init` makes one, or restore your backup", False
    except (PermissionError, ValueError) as error:
        return "master key", str(error), False
    return "master key", "", True


def _anchors(anchors: Any, settings: Any) -> list[tuple[str, str, bool]]:
    """Of the default tenant; nothing to say where there are none."""
    if not anchors:
        return []
    ending = [anchor.subject for anchor in anchors if anchor.expires_at < time.time() + 30 * 86_400]
    if ending:
        return [("trust anchors", f"{', '.join(ending)}: less than 30 days left; add the successor", False)]
    reach = settings.takes_certificates
    advice = "" if reach else "no certificate reaches us: give serve --client-ca, or --client-cert-header with a proxy"
    return [("trust anchors", advice, reach)]


def _deployment_gaps(tenant: Any, settings: Any) -> list[str]:
    """What a tenant's profile needs of the process around it."""
    from watchword.server.registry.profiles import PROFILES

    least, most = PROFILES[tenant.profile].leeway
    found = []
    if settings.base_url.startswith("http://"):
        found.append("callers reach it by plain HTTP: give --tls-cert and --tls-key, or --public-url https://...")
    if not least <= settings.clock_tolerance <= most:
        found.append(
            f"clock_tolerance is {settings.clock_tolerance:g} s: it counts as the nearest of {least:g} to {most:g}"
        )
    if not settings.takes_certificates:
        found.append("no certificate reaches us: applications can use private_key_jwt with DPoP only")
    return found


async def _profiles(services: Any, settings: Any) -> list[tuple[str, str, bool]]:
    """Of every tenant that has one: what it lacks, thing by thing; without TLS it is none."""
    from watchword.server.registry.profiles import PROFILES
    from watchword.server.service.desk import EVERYTHING
    from watchword.server.service.registry.change_tenant import MAX_NAMED, gaps

    checks = []
    async with services.storage.store.snapshot() as tx:
        for tenant in await tx.tenants.page("", None, EVERYTHING):
            if not tenant.profile:
                continue
            inside = [gap async for gap in gaps(tx, tenant.tenant_id, PROFILES[tenant.profile])]
            around = _deployment_gaps(tenant, settings)
            good = not inside and not settings.base_url.startswith("http://")
            advice = "; ".join([*inside[:MAX_NAMED], *around])
            checks.append((f"profile {tenant.profile} of tenant {tenant.slug}", advice, good))
    return checks


async def _audit(services: Any) -> tuple[str, str, bool]:
    """Whether the audit log is older than what was signed, and whether that would show."""
    from watchword.server.storage.audit_log.checkpoints import TakenBack
    from watchword.server.storage.audit_log.epoch import EpochUnreadable

    chain = services.upkeep.checkpoints
    kept = "keep `watchword audit verify`'s checkpoint elsewhere and compare with --expect"
    try:
        known = await chain.behind()
    except TakenBack as error:
        return "audit log", f"{error}; restored on purpose: run `watchword audit accept-restore`", False
    except EpochUnreadable as error:
        return "audit log", str(error), False
    if why := chain.epoch.unwritable():
        return "audit log", f"no epoch: {why}, so an old copy of the database does not show; {kept}", True
    if known is None:
        return "audit log", f"no epoch in {chain.epoch.path} yet: the running server writes it", True
    return "audit log", "", True


def _database(settings: object) -> list[tuple[str, str, bool]]:
    from watchword.server.composition.services import open_services

    async def look() -> list[tuple[str, str, bool]]:
        services = await open_services(settings)  # type: ignore[arg-type]
        try:
            tenant = await services.view.tenant("default")
            keys = tenant is not None and {"ES256", "RS256"} <= tenant.signing.keys()
            return [
                ("database", "", True),
                ("signing keys", "" if keys else "none active: run `watchword init`", keys),
                *(_anchors(tenant.tenant.anchors, settings) if tenant is not None else []),
                *await _profiles(services, settings),
                await _audit(services),
            ]
        finally:
            await services.storage.close()

    try:
        return asyncio.run(look())
    except Exception as error:
        return [("database", str(error), False)]
