"""The composition root: the only module, with `services.py`, that names every concrete class."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ..jose.sealing import create_master_key, load_master_key
from .config import Settings
from .http.admin.app import AdminApi
from .http.admin.fleet.device_authorities import DeviceAuthorityHandlers
from .http.admin.fleet.devices import DeviceHandlers
from .http.admin.fleet.enrolment import EnrolmentHandlers
from .http.admin.fleet.expected import ExpectedHandlers
from .http.admin.fleet.pending import PendingHandlers
from .http.admin.pages import Pages
from .http.admin.registry.federation import FederationHandlers
from .http.admin.registry.handlers import AdminHandlers
from .http.admin.registry.registration import RegistrationHandlers
from .http.administration import Administration
from .http.administrator import Administrators
from .http.appid.bodies import read_token_request
from .http.appid.documents import AppIdDocuments
from .http.appid.handlers import AppIdHandlers
from .http.appid.management import AppIdManagement
from .http.appid.questions import AppIdQuestions
from .http.appid.runtime import AppIdRuntime
from .http.client_certificate import ClientCertificates
from .http.door import TOO_LATE, Door, Shares
from .http.dpop import Addresses
from .http.front import Asgi, Front
from .http.oauth.enrol import EnrolmentEndpoint
from .http.oauth.forward_auth import ForwardAuthEndpoint
from .http.oauth.introspect import TokenQuestions
from .http.oauth.metadata import ClientCertificatePolicy, PublicDocuments
from .http.oauth.register import RegistrationEndpoint
from .http.oauth.status_list import StatusListEndpoint
from .http.oauth.token import TokenEndpoint
from .http.operations import Operations
from .http.wire import Receive, Send
from .protocol.proof_jwt import Window
from .service.clients.dry_run_identity import DryRunIdentity
from .service.clients.prove_possession import ProvePossession
from .service.desk import Desk
from .service.fleet.device_certificates import DeviceCertificates
from .service.fleet.enrol_device import EnrolDevice
from .service.fleet.renew_certificate import RenewCertificate
from .service.registry.create_tenant import DEFAULT, FirstAdmin, Keep
from .service.tokens.appid_surface import appid_surface
from .service.tokens.check_token import CheckToken
from .service.tokens.follow_revocations import FollowRevocations
from .service.tokens.forward_auth import ForwardAuth
from .service.tokens.serve_status_list import ServeStatusList
from .service.tokens.sign_introspection import SignIntrospection
from .service.upkeep.import_instance import ImportInstance, pieces_of
from .services import BULK_SECRETS, STATUS_LISTS, Services, World, open_services
from .storage.migrate import migrate, newest_revision
from .storage.open import StartRefused, made_before
from .storage.transfer import Transfer

if TYPE_CHECKING:
    from .coap.listener import CoapListener


def build(services: Services, lifespan: Callable[[Receive, Send], object]) -> Door:
    """The ASGI application over these services."""
    settings, timeout = services.settings, services.settings.body_timeout
    addresses = Addresses(settings.base_url, settings.mtls_url)
    questions = TokenQuestions(
        services.view, services.who, services.tokens, services.introspect,
        SignIntrospection(services.view, services.world.clock, services.issuer_of), services.revoke,
        FollowRevocations(services.view, services.storage.revocations, services.world.clock),
        services.refusals, services.world.clock, timeout, addresses, services.proofs,
    )  # fmt: skip
    shares = Shares(settings.answer_within)
    operations = Operations(services.view, services.refusals, shares)
    base_path = urlsplit(settings.base_url).path
    token = TokenEndpoint(services.issue, services.native, services.refusals, timeout, addresses=addresses)
    lists = ServeStatusList(
        services.view, services.storage.status, services.world.clock, services.issuer_of,
        services.master.derive(STATUS_LISTS), settings.status_list_ttl,
    )  # fmt: skip
    desk = services.desk()
    certificates = DeviceCertificates(desk, services.master.unseal)
    pages = Pages(desk, services.master)
    handlers = AdminHandlers(
        desk, services.keys, services.create_tenant, services.issuer_of,
        services.storage.store.secret_use, services.audit.recent, pages, settings.max_old_secrets,
    )  # fmt: skip
    window = Window(settings.clock_tolerance)
    federation = FederationHandlers(desk, pages, DryRunIdentity(desk, services.issuer_keys, services.issuer_of, window))
    prove = ProvePossession(services.commits, services.proofs, services.world.clock)
    administrators = Administrators(
        services.view, services.tokens, prove, services.world.clock, services.issuer_of, addresses
    )
    administration = Administration(administrators, timeout)
    routes = [
        *handlers.routes(), *federation.routes(), *RegistrationHandlers(desk, pages).routes(),
        *EnrolmentHandlers(desk, pages).routes(), *DeviceAuthorityHandlers(desk, pages, certificates).routes(),
        *ExpectedHandlers(desk, pages).routes(), *PendingHandlers(desk, pages).routes(),
        *DeviceHandlers(
            desk, pages, services.storage.store.secret_use, services.master.derive(BULK_SECRETS),
            settings.max_old_secrets,
        ).routes(),
    ]  # fmt: skip
    admin = AdminApi(routes, administration, services.issuer_of, base_path)
    mounted: dict[str, Asgi] = {
        **appid(services, desk, administration, base_path),
        "/api/v1/": admin,
        "/health/": operations.health,
        "/metrics": operations.metrics,
    }
    front = Front(
        services.view,
        base_path,
        services.issuer_of,
        token,
        questions,
        PublicDocuments(settings.key_publish_ahead, certificate_policy(settings)),
        ForwardAuthEndpoint(ForwardAuth(services.view, services.tokens, services.world.clock), services.refusals),
        RegistrationEndpoint(
            services.view, desk, services.refusals, settings.body_timeout, settings.clock_tolerance, services.issuer_of
        ),
        EnrolmentEndpoint(
            services.view,
            EnrolDevice(desk, certificates, window),
            RenewCertificate(desk, services.who, certificates),
            services.refusals,
            settings.body_timeout,
            services.issuer_of,
        ),
        StatusListEndpoint(lists),
        mounted,
        lifespan,  # type: ignore[arg-type]
    )
    world = services.world
    return Door(
        behind_proxies(settings, front), base_path, shares, services.view.knows, world.monotonic,
        lambda: int.from_bytes(world.random_bytes(2)) / 65_536,
    )  # fmt: skip


def behind_proxies(settings: Settings, front: Asgi) -> Asgi:
    """What trusted proxies say of the caller: first of its certificate, while the peer is still the proxy."""
    proxied = ProxyHeadersMiddleware(front, list(settings.trusted_proxies))  # type: ignore[arg-type]
    application: Asgi = proxied if settings.trusted_proxies else front  # type: ignore[assignment]
    if not settings.takes_certificates:
        return application
    return ClientCertificates(application, settings.client_cert_header or None, proxied.trusted_hosts)  # type: ignore[arg-type]


def certificate_policy(settings: Settings) -> ClientCertificatePolicy:
    """What the metadata says of certificates."""
    base = settings.mtls_url.rstrip("/")
    return ClientCertificatePolicy(settings.takes_certificates, (lambda slug: f"{base}/t/{slug}") if base else None)


def appid(services: Services, desk: Desk, administration: Administration, base_path: str) -> dict[str, Asgi]:
    """The App ID surface: for applications and for those who manage them."""
    settings, issuer_of = services.settings, services.appid_issuer_of
    timeout, base = settings.body_timeout, settings.base_url
    token = TokenEndpoint(services.issue, appid_surface(issuer_of), services.refusals, timeout, read_token_request)
    check = CheckToken(services.view, services.tokens, services.world.clock, issuer_of)
    questions = AppIdQuestions(services.who, check, services.revoke, services.refusals, timeout)
    documents = AppIdDocuments(PublicDocuments(settings.key_publish_ahead), issuer_of, base)
    handlers = AppIdHandlers(desk, services.keys, issuer_of, base)
    return {
        "/oauth/v4/": AppIdRuntime(services.view, base_path, token, questions, documents),
        "/management/v4/": AppIdManagement(handlers, administration, services.view, base_path),
    }


async def listen_for_devices(services: Services) -> CoapListener | None:
    """The CoAP endpoint, if there is to be one; aiocoap is imported then only. Raises `StartRefused`."""
    address = services.settings.coap_address
    if address is None:
        return None
    from .coap.listener import CoapListener
    from .coap.token import TokenResource

    resource = TokenResource(
        services.view, services.issue, services.native, services.refusals, protected=services.settings.coap_protected
    )
    try:
        return await CoapListener.start(resource, *address)
    except OSError as error:
        raise StartRefused(f"cannot listen for CoAP at {services.settings.coap}: {error}") from None


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
        self._front = build(self.services, self._lifespan)
        chores = asyncio.get_running_loop().create_task(self.services.housekeeping.run())
        coap: CoapListener | None = None
        try:
            coap = await listen_for_devices(self.services)
            yield self.services
        finally:
            chores.cancel()
            if coap is not None:
                await coap.close()
            await self.services.housekeeping.finish()
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
    try:
        if await services.view.tenant(DEFAULT) is not None:
            return None
        from .registry.errors import Conflict

        try:
            return await services.create_tenant(DEFAULT, "Default", keep=keep, jwks=jwks)
        except Conflict:
            return None
    finally:
        await services.housekeeping.finish()
        await services.storage.close()


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
        await services.housekeeping.finish()
        return count
    finally:
        await services.storage.close()
