"""The ASGI application that uvicorn loads, and what is done without it: the first start, and the import of a backup."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ..jose.sealing import create_master_key, load_master_key
from .composition.foundation import World
from .composition.services import Services, open_services
from .composition.surfaces.admin import administration_of, mount_admin
from .composition.surfaces.appid import mount_appid
from .composition.surfaces.coap import listen_for_devices
from .composition.surfaces.oauth import oauth_endpoints
from .composition.surfaces.operations import mount_operations
from .config import Settings
from .http.client_certificate import ClientCertificates
from .http.door import TOO_LATE, Door, Shares
from .http.dpop import Addresses
from .http.front import Asgi, Front
from .http.wire import Receive, Send
from .registry.errors import Conflict
from .service.registry.create_tenant import DEFAULT, FirstAdmin, Keep
from .service.upkeep.import_instance import ImportInstance, pieces_of
from .storage.audit_log.checkpoints import TakenBack
from .storage.audit_log.epoch import EpochUnreadable
from .storage.migrate import migrate, newest_revision
from .storage.open import StartRefused, made_before
from .storage.transfer import Transfer

if TYPE_CHECKING:
    from .coap.listener import CoapListener

Lifespan = Callable[[Receive, Send], Awaitable[None]]


def build(services: Services, lifespan: Lifespan) -> Door:
    """The ASGI application over these services: admission control, proxies, routing, endpoints."""
    world, base_path = services.world, urlsplit(services.base_url).path
    shares = Shares(services.settings.answer_within)
    front = Front(
        view=services.view,
        base_path=base_path,
        issuer_of=services.issuer_of,
        endpoints=oauth_endpoints(services, addresses_of(services.settings)),
        mounted=_mounted(services, base_path, shares),
        lifespan=lifespan,
    )
    return Door(
        behind_proxies(services.settings, front),
        base_path,
        shares,
        knows=services.view.knows,
        monotonic=world.monotonic,
        chance=world.chance,
    )


def addresses_of(settings: Settings) -> Addresses:
    """The URLs by which callers reach this server."""
    return Addresses(base_url=settings.base_url, mtls_url=settings.mtls_url)


def _mounted(services: Services, base_path: str, shares: Shares) -> dict[str, Asgi]:
    administration = administration_of(services, addresses_of(services.settings))
    return {
        **mount_appid(services, administration, base_path),
        **mount_admin(services, administration, base_path),
        **mount_operations(services, shares),
    }


def behind_proxies(settings: Settings, front: Asgi) -> Asgi:
    """What trusted proxies say of the caller: first of its certificate, while the peer is still the proxy."""
    proxied = ProxyHeadersMiddleware(front, list(settings.trusted_proxies))  # type: ignore[arg-type]
    application: Asgi = proxied if settings.trusted_proxies else front  # type: ignore[assignment]
    if not settings.takes_certificates:
        return application
    return ClientCertificates(application, settings.client_cert_header or None, proxied.trusted_hosts)  # type: ignore[arg-type]


class Application:
    """What uvicorn loads: opens the services when the server starts, lets go of them when it stops."""

    def __init__(self, settings: Settings, world: World = World()) -> None:  # noqa: B008 (frozen)
        self._settings, self._world = settings, world
        self._front: Door | None = None
        self.services: Services | None = None

    async def __call__(self, scope: dict[str, object], receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send, scope.get("state"))
        elif self._front is not None:
            await self._front(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send, state: object = None) -> None:
        await receive()
        try:
            async with self.running():
                if isinstance(state, dict) and self._front is not None:
                    state[TOO_LATE] = self._front.too_late
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Services]:
        """Open, do the chores, close."""
        self.services = await open_services(self._settings, self._world)
        await _refuse_older(self.services)
        self._front = build(self.services, self._lifespan)
        chores = asyncio.get_running_loop().create_task(self.services.upkeep.housekeeping.run())
        coap: CoapListener | None = None
        try:
            coap = await listen_for_devices(self.services)
            yield self.services
        finally:
            chores.cancel()
            if coap is not None:
                await coap.close()
            await self.services.upkeep.housekeeping.finish()
            await self.services.storage.close()


async def initialise(
    settings: Settings,
    world: World = World(),  # noqa: B008 (frozen)
    keep: Keep | None = None,
    jwks: Mapping[str, Any] | None = None,
) -> FirstAdmin | None:
    """Create what is missing: database, master key, default tenant with keys and administrator.

    `keep` is told the administrator's secret before anything is committed (see `CreateTenant`); `jwks` are its keys
    in place of a secret. Returns the administrator when it was made now, None when the instance existed. Of several
    processes that start at once, exactly one makes it (the tenant's slug is unique).
    """
    key_file = Path(settings.master_key_file)
    if not key_file.exists():
        if await made_before(settings.database_url):
            where = settings.sqlite_path or "the database"
            raise StartRefused(f"{where} exists but its master key {key_file} does not: restore the key file first")
        with suppress(FileExistsError):
            create_master_key(key_file)
    await asyncio.to_thread(migrate, settings.database_url)
    services = await open_services(settings, world)
    await _refuse_older(services)
    try:
        if await services.view.tenant(DEFAULT) is not None:
            return None
        try:
            return await services.registry.create_tenant(DEFAULT, "Default", keep=keep, jwks=jwks)
        except Conflict:
            return None
    finally:
        await services.upkeep.housekeeping.finish()
        await services.storage.close()


async def _refuse_older(services: Services) -> None:
    """Raises `StartRefused` on a database that is older than the epoch beside the master key, and closes it.

    A restored backup would sign with keys that were withdrawn later, and accept what was revoked later.
    """
    try:
        await services.upkeep.checkpoints.follow()
    except (TakenBack, EpochUnreadable) as error:
        await services.storage.close()
        advice = (
            "" if isinstance(error, EpochUnreadable) else
            "If you have restored a backup on purpose, run `watchword audit accept-restore`, then repeat what was "
            "revoked, rotated and disabled since the backup. Nothing was changed"
        )  # fmt: skip
        raise StartRefused(f"{error}. {advice}".removesuffix(". ")) from None
    except BaseException:
        await services.storage.close()
        raise


async def import_instance(
    settings: Settings,
    file: BinaryIO,
    progress: Callable[[int], None] = lambda records: None,
    world: World = World(),  # noqa: B008 (frozen)
) -> int:
    """Create the database, if it is missing, and fill it; a file that is not whole is refused before.

    Raises `DamagedExport`, `Conflict`, `StartRefused`.
    """
    master = load_master_key(Path(settings.master_key_file))
    for _ in pieces_of(file, master, newest_revision()):
        pass
    file.seek(0)
    await asyncio.to_thread(migrate, settings.database_url)
    services = await open_services(settings, world)
    try:
        load = ImportInstance(Transfer(services.storage.engine, services.storage.store), master, world.clock)
        count = await load(file, progress)
        await services.upkeep.checkpoints.accept()  # another database may have been here; its audit log is not imported
        await services.upkeep.housekeeping.finish()
        return count
    finally:
        await services.storage.close()
