"""The composition root: the only module that names every concrete class."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import httpcore
from msgspec import Struct
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ..jose.nonces import Nonces
from ..jose.sealing import MasterKey, create_master_key, load_master_key
from .config import Settings
from .http.admin.app import AdminApi
from .http.admin.federation import FederationHandlers
from .http.admin.handlers import AdminHandlers
from .http.admin.pages import Pages
from .http.admin.registration import RegistrationHandlers
from .http.administration import Administration
from .http.appid.bodies import read_token_request
from .http.appid.documents import AppIdDocuments
from .http.appid.handlers import AppIdHandlers
from .http.appid.management import AppIdManagement
from .http.appid.questions import AppIdQuestions
from .http.appid.runtime import AppIdRuntime
from .http.client_certificate import ClientCertificates
from .http.dpop import Addresses
from .http.front import Asgi, Front
from .http.oauth.forward_auth import ForwardAuthEndpoint
from .http.oauth.introspect import TokenQuestions
from .http.oauth.metadata import ClientCertificatePolicy, PublicDocuments
from .http.oauth.register import RegistrationEndpoint
from .http.oauth.status_list import StatusListEndpoint
from .http.oauth.token import TokenEndpoint
from .http.operations import Operations
from .http.wire import Receive, Send
from .keys.rotation import Policy
from .outgoing.fetch import OutgoingFetch, Resolve, system_resolver
from .protocol.dpop import ProofRules
from .protocol.proof_jwt import Window
from .service.appid_surface import appid_surface
from .service.authenticate_client import AuthenticateClient
from .service.check_token import CheckToken
from .service.client_keys import ClientKeys
from .service.create_tenant import DEFAULT, CreateTenant, FirstAdmin
from .service.desk import Desk
from .service.dry_run_identity import DryRunIdentity
from .service.export_instance import ExportInstance
from .service.follow_revocations import FollowRevocations
from .service.forward_auth import ForwardAuth
from .service.group_commit import GroupCommit
from .service.housekeeping import Housekeeping
from .service.import_instance import ImportInstance, pieces_of
from .service.imported_secrets import ImportedSecrets
from .service.introspect_token import IntrospectToken
from .service.issue_token import IssueToken, Surface, rfc9068_mint
from .service.issuer_keys import IssuerKeys
from .service.key_schedule import KeySchedule
from .service.prove_client import ProveClient
from .service.prune_audit import PruneAudit
from .service.read_token import TokenReader
from .service.refusals import Refusals
from .service.revoke_token import RevokeToken
from .service.rotate_key import RotateKey
from .service.secret_use import SecretUse
from .service.serve_status_list import ServeStatusList
from .service.sign_introspection import SignIntrospection
from .service.status_indexes import StatusIndexes
from .service.view import View
from .storage.audit import AuditLog
from .storage.audit_pruning import AuditPruning
from .storage.checkpoints import audit_key
from .storage.migrate import migrate, newest_revision
from .storage.open import StartRefused, Storage, check_master_key, open_storage
from .storage.transfer import Transfer

PEPPER = b"watchword client secrets v1"
NONCES = b"watchword dpop nonces v1"
STATUS_LISTS = b"watchword status lists v1"


class World(Struct, frozen=True, kw_only=True):
    """What enters from outside: time, chance, and whom we may ask. Tests bring their own."""

    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    random_bytes: Callable[[int], bytes] = os.urandom
    network: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()
    resolve: Resolve = system_resolver


class Services(Struct, frozen=True, kw_only=True):
    """Every verb of one worker, over one open database."""

    settings: Settings
    world: World
    master: MasterKey
    storage: Storage
    view: View
    commits: GroupCommit
    refusals: Refusals
    proofs: ProofRules
    issue: IssueToken
    native: Surface
    who: AuthenticateClient
    tokens: TokenReader
    introspect: IntrospectToken
    revoke: RevokeToken
    keys: RotateKey
    fetch: OutgoingFetch
    issuer_keys: IssuerKeys
    create_tenant: CreateTenant
    audit: AuditLog
    prune_audit: PruneAudit
    export: ExportInstance
    housekeeping: Housekeeping
    pepper: bytes

    def issuer_of(self, slug: str) -> str:
        """A tenant's issuer identifier."""
        return f"{self.settings.base_url}/t/{slug}"

    def appid_issuer_of(self, slug: str) -> str:
        """The same tenant's issuer identifier on the App ID surface."""
        return f"{self.settings.base_url}/oauth/v4/{slug}"


def policy_of(settings: Settings) -> Policy:
    """The rotation rule's numbers."""
    return Policy(period=settings.key_rotation_period, publish_ahead=settings.key_publish_ahead)


async def open_services(settings: Settings, world: World = World()) -> Services:  # noqa: B008 (frozen)
    """Everything wired. Raises `StartRefused`, `StorageUnavailable`, or what the key file is wrong with."""
    master = load_master_key(Path(settings.master_key_file))
    storage = await open_storage(settings.database_url, world.clock, lambda: world.random_bytes(8).hex())
    async with AsyncExitStack() as opened:
        opened.push_async_callback(storage.close)  # its threads would keep the process alive
        await check_master_key(storage.engine, master)
        services = await _wired(settings, world, master, storage)
        opened.pop_all()
    return services


async def _wired(settings: Settings, world: World, master: MasterKey, storage: Storage) -> Services:
    view = View(storage.reader, master, world.clock, world.monotonic)
    await view.start()
    storage.store.heed = view.forget
    pepper = master.derive(PEPPER)
    commits = GroupCommit(storage.journal, view.heed, world.clock, lambda: world.random_bytes(8).hex())
    refusals = Refusals(world.clock, lambda: world.random_bytes(8).hex())
    uses = SecretUse(storage.store.save_secret_use)
    imported = ImportedSecrets(storage.store, pepper, world.clock)
    tokens = TokenReader(view)
    policy = policy_of(settings)
    keys = RotateKey(storage.store, master, policy, world.clock)
    signing = await audit_key(storage.engine, master)
    audit = AuditLog(storage.engine, signing, world.clock)
    prune_audit = PruneAudit(AuditPruning(storage.engine, storage.store, signing, world.clock), world.clock)

    async def bind_chains() -> None:
        await audit.bind({**commits.heads(), **storage.store.heads()})

    async def prune_by_age() -> None:
        if settings.audit_retention_days:
            await prune_audit(world.clock() - settings.audit_retention_days * 86_400)

    base = settings.base_url

    def issuer_of(slug: str) -> str:
        return f"{base}/t/{slug}"

    fetch = OutgoingFetch(
        world.network, world.resolve, loopback=settings.fetch_from_loopback, ca_file=settings.fetch_ca_file
    )
    issuer_keys = IssuerKeys(fetch, world.clock)
    prove = ProveClient(
        view, imported, ClientKeys(fetch, master, world.clock), issuer_keys, issuer_of, pepper,
        Window(settings.clock_tolerance, settings.assertion_life),
    )  # fmt: skip
    proofs = ProofRules(
        Nonces(master.derive(NONCES)), Window(settings.clock_tolerance, settings.dpop_proof_life), settings.dpop_nonce
    )
    statuses = StatusIndexes(master.derive(STATUS_LISTS), issuer_of, world.random_bytes)
    return Services(
        settings=settings,
        world=world,
        master=master,
        storage=storage,
        view=view,
        commits=commits,
        refusals=refusals,
        proofs=proofs,
        issue=IssueToken(view, commits, uses, prove, proofs, world.clock, world.random_bytes),
        native=Surface("oauth", rfc9068_mint(issuer_of, world.random_bytes, statuses)),
        who=AuthenticateClient(view, prove, commits, world.clock),
        tokens=tokens,
        introspect=IntrospectToken(view, tokens, world.clock),
        revoke=RevokeToken(storage.store, view, tokens, world.clock),
        keys=keys,
        fetch=fetch,
        issuer_keys=issuer_keys,
        create_tenant=CreateTenant(storage.store, keys, policy, pepper, world.clock, world.random_bytes),
        audit=audit,
        prune_audit=prune_audit,
        export=ExportInstance(
            Transfer(storage.engine, storage.store), storage.store, master, world.clock, world.random_bytes
        ),
        housekeeping=Housekeeping(
            view,
            storage.store,
            commits,
            KeySchedule(keys, policy, world.clock),
            refusals,
            uses,
            bind_chains,
            storage.store.purge,
            prune_by_age,
            world.clock,
        ),
        pepper=pepper,
    )


def build(services: Services, lifespan: Callable[[Receive, Send], object]) -> Asgi:
    """The ASGI application over these services."""
    settings, timeout = services.settings, services.settings.body_timeout
    addresses = Addresses(settings.base_url, settings.mtls_url)
    questions = TokenQuestions(
        services.view, services.who, services.tokens, services.introspect,
        SignIntrospection(services.view, services.world.clock, services.issuer_of), services.revoke,
        FollowRevocations(services.view, services.storage.revocations, services.world.clock),
        services.refusals, services.world.clock, timeout, addresses, services.proofs,
    )  # fmt: skip
    operations = Operations(services.view, services.refusals)
    base_path = urlsplit(settings.base_url).path
    token = TokenEndpoint(services.issue, services.native, services.refusals, timeout, addresses=addresses)
    lists = ServeStatusList(
        services.view, services.storage.status, services.world.clock, services.issuer_of,
        services.master.derive(STATUS_LISTS), settings.status_list_ttl,
    )  # fmt: skip
    desk = Desk(
        services.storage.store, services.pepper, services.world.clock, services.world.random_bytes,
        services.master.seal, services.fetch.check,
    )  # fmt: skip
    pages = Pages(desk, services.master)
    handlers = AdminHandlers(
        desk, services.keys, services.create_tenant, services.issuer_of,
        services.storage.store.secret_use, services.audit.recent, pages, settings.max_old_secrets,
    )  # fmt: skip
    window = Window(settings.clock_tolerance)
    federation = FederationHandlers(desk, pages, DryRunIdentity(desk, services.issuer_keys, services.issuer_of, window))
    administration = Administration(services.view, services.tokens, services.world.clock, services.issuer_of, timeout)
    routes = [*handlers.routes(), *federation.routes(), *RegistrationHandlers(desk, pages).routes()]
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
        StatusListEndpoint(lists),
        mounted,
        lifespan,  # type: ignore[arg-type]
    )
    return behind_proxies(settings, front)


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


class Application:
    """What uvicorn loads: opens the services when the server starts, lets go of them when it stops."""

    def __init__(self, settings: Settings, world: World = World()) -> None:  # noqa: B008 (frozen)
        self._settings, self._world = settings, world
        self._front: Asgi | None = None
        self.services: Services | None = None

    async def __call__(self, scope: dict[str, object], receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self._front is not None:
            await self._front(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self.running():
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
        try:
            yield self.services
        finally:
            chores.cancel()
            await self.services.housekeeping.finish()
            await self.services.storage.close()


async def initialise(settings: Settings, world: World = World()) -> FirstAdmin | None:  # noqa: B008 (frozen)
    """Create what is missing: database, master key, default tenant with keys and administrator.

    Returns the administrator when it was made now, None when the instance existed. Of several
    processes that start at once, exactly one makes it (the tenant's slug is unique).
    """
    key_file = Path(settings.master_key_file)
    path = settings.sqlite_path
    existed = path.exists() if path is not None else False
    if not key_file.exists():
        if existed:
            raise StartRefused(f"{path} exists but its master key {key_file} does not: restore the key file first")
        with suppress(FileExistsError):
            create_master_key(key_file)
    await asyncio.to_thread(migrate, settings.database_url)
    services = await open_services(settings, world)
    try:
        if await services.view.tenant(DEFAULT) is not None:
            return None
        from .registry.errors import Conflict

        try:
            return await services.create_tenant(DEFAULT, "Default")
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
