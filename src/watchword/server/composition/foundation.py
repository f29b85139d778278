"""What every wing of the services needs: settings, time, randomness, the network, and one open database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import httpcore
from msgspec import Struct, field

from ...jose.sealing import MasterKey
from ..audit.chain import Chains
from ..config import Settings
from ..outgoing.fetch import OutgoingFetch, Resolve, system_resolver
from ..outgoing.host_budget import HostBudget
from ..protocol.proof_jwt import Window
from ..service.deadline import Deadline
from ..service.desk import Desk
from ..service.group_commit import GroupCommit
from ..service.view import View
from ..storage.open import Storage

PEPPER = b"watchword client secrets v1"
BULK_SECRETS = b"watchword bulk secrets v1"
NONCES = b"watchword dpop nonces v1"
STATUS_LISTS = b"watchword status lists v1"
AUDIT_ROWS = b"watchword audit rows v1"
AUDIT_CHECKPOINTS = b"watchword audit checkpoints v1"


class World(Struct, frozen=True, kw_only=True):
    """What enters the process from outside: time, randomness and the network. Tests pass their own."""

    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    random_bytes: Callable[[int], bytes] = os.urandom
    network: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()
    resolve: Resolve = system_resolver

    def random_name(self) -> str:
        """Sixteen hexadecimal digits, for audit chains and requests that came without an id."""
        return self.random_bytes(8).hex()

    def chance(self) -> float:
        """A random number from 0 to 1, 1 excluded."""
        return int.from_bytes(self.random_bytes(2)) / 65_536


class Foundation(Struct, frozen=True, kw_only=True):
    """One open database of one worker, with the caches and the writer in front of it."""

    settings: Settings
    world: World
    master: MasterKey
    storage: Storage
    view: View
    commits: GroupCommit
    fetch: OutgoingFetch
    desk: Desk
    base_url: str
    """Of the settings, computed once: every token names it."""
    deadline: Deadline = field(default_factory=Deadline)
    """Of all requests for tokens and questions about them."""

    @property
    def pepper(self) -> bytes:
        """The key of the HMAC over client secrets."""
        return self.desk.pepper

    def issuer_of(self, slug: str) -> str:
        """A tenant's issuer identifier."""
        return f"{self.base_url}/t/{slug}"

    def appid_issuer_of(self, slug: str) -> str:
        """The same tenant's issuer identifier on the App ID surface."""
        return f"{self.base_url}/oauth/v4/{slug}"

    def window(self, life: float) -> Window:
        """For proofs that live at most `life` seconds, by the clock tolerance of the settings."""
        return Window(leeway=self.settings.clock_tolerance, life=life)


async def lay_foundation(*, settings: Settings, world: World, master: MasterKey, storage: Storage) -> Foundation:
    """Start the cache of tenants, and tell it of every change that this process writes. Raises `StorageUnavailable`."""
    view = View(storage.reader, master, clock=world.clock, monotonic=world.monotonic)
    await view.start()
    storage.store.heed = view.forget
    fetch = OutgoingFetch(
        world.network, world.resolve, HostBudget(world.clock), loopback=settings.fetch_from_loopback,
        ca_file=settings.fetch_ca_file, ports=settings.ports_to_fetch,
    )  # fmt: skip
    return Foundation(
        settings=settings,
        world=world,
        master=master,
        storage=storage,
        view=view,
        commits=GroupCommit(
            storage.journal, view.heed, world.clock, Chains(world.random_name, master.derive(AUDIT_ROWS))
        ),
        fetch=fetch,
        base_url=settings.base_url,
        desk=Desk(
            store=storage.store,
            pepper=master.derive(PEPPER),
            clock=world.clock,
            random_bytes=world.random_bytes,
            seal=master.seal,
            check_address=fetch.check,
        ),
    )
