"""Every verb of one worker, wired over one open database: below HTTP, and with what enters from outside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpcore
from msgspec import Struct

from ..jose.nonces import Nonces
from ..jose.sealing import MasterKey, load_master_key
from .config import Settings
from .keys.rotation import Policy
from .outgoing.fetch import OutgoingFetch, Resolve, system_resolver
from .protocol.dpop import ProofRules
from .protocol.proof_jwt import Window
from .service.clients.authenticate_client import AuthenticateClient
from .service.clients.client_keys import ClientKeys
from .service.clients.guesses import Guesses
from .service.clients.imported_secrets import ImportedSecrets
from .service.clients.issuer_keys import IssuerKeys
from .service.clients.prove_client import ProveClient
from .service.clients.secret_use import SecretUse
from .service.desk import Desk
from .service.group_commit import GroupCommit
from .service.keys.key_schedule import KeySchedule
from .service.keys.rotate_key import RotateKey
from .service.registry.create_tenant import CreateTenant
from .service.tokens.introspect_token import IntrospectToken
from .service.tokens.issue_token import IssueToken, Surface, rfc9068_mint
from .service.tokens.rate_limits import RateLimits
from .service.tokens.read_token import TokenReader
from .service.tokens.refusals import Refusals
from .service.tokens.revoke_token import RevokeToken
from .service.tokens.status_indexes import StatusIndexes
from .service.upkeep.export_instance import ExportInstance
from .service.upkeep.housekeeping import Housekeeping
from .service.upkeep.prune_audit import PruneAudit
from .service.view import View
from .storage.audit import AuditLog
from .storage.audit_pruning import AuditPruning
from .storage.checkpoints import audit_key
from .storage.open import Storage, check_master_key, open_storage
from .storage.transfer import Transfer

PEPPER = b"watchword client secrets v1"
BULK_SECRETS = b"watchword bulk secrets v1"
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
    limits: RateLimits
    housekeeping: Housekeeping
    pepper: bytes

    def desk(self) -> Desk:
        """What the administrative verbs share."""
        return Desk(
            self.storage.store, self.pepper, self.world.clock, self.world.random_bytes, self.master.seal,
            self.fetch.check,
        )  # fmt: skip

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
    guesses = Guesses(world.random_bytes(16), settings.wrong_proofs)
    refusals = Refusals(world.clock, lambda: world.random_bytes(8).hex(), guesses)
    uses = SecretUse(storage.journal.save_uses)
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
    limits = RateLimits(storage.debts, lambda: int.from_bytes(world.random_bytes(2)) / 65_536)
    return Services(
        settings=settings,
        world=world,
        master=master,
        storage=storage,
        view=view,
        commits=commits,
        refusals=refusals,
        proofs=proofs,
        issue=IssueToken(view, commits, uses, prove, proofs, tokens, world.clock, world.random_bytes, limits),
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
        limits=limits,
        housekeeping=Housekeeping(
            view,
            storage.store,
            commits,
            KeySchedule(keys, policy, world.clock),
            refusals,
            uses,
            limits,
            bind_chains,
            storage.store.purge,
            prune_by_age,
            world.clock,
        ),
        pepper=pepper,
    )
