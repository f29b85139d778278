"""Every verb of one worker over one open database: the wings, wired in the order in which they need each other."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from msgspec.structs import asdict

from ...jose.sealing import load_master_key
from ..audit.chain import Chains
from ..config import Settings
from ..storage.open import check_master_key, open_storage
from .clients import Clients, wire_clients
from .fleet import Fleet, wire_fleet
from .foundation import AUDIT_ROWS, Foundation, World, lay_foundation
from .keys import Keys, wire_keys
from .registry import Registry, wire_registry
from .tokens import Tokens, wire_tokens
from .upkeep import Upkeep, wire_upkeep


class Services(Foundation, frozen=True, kw_only=True):
    """The foundation, and the wings that stand on it."""

    keys: Keys
    registry: Registry
    clients: Clients
    tokens: Tokens
    fleet: Fleet
    upkeep: Upkeep


async def open_services(settings: Settings, world: World = World()) -> Services:  # noqa: B008 (frozen)
    """Open the database and wire every verb over it.

    Raises `StartRefused`, `StorageUnavailable`, or what is wrong with the master key file.
    """
    master = load_master_key(Path(settings.master_key_file))
    chains = Chains(world.random_name, master.derive(AUDIT_ROWS))
    storage = await open_storage(settings.database_url, world.clock, chains)
    async with AsyncExitStack() as opened:
        opened.push_async_callback(storage.close)  # its threads would keep the process alive
        await check_master_key(storage.engine, master)
        base = await lay_foundation(settings=settings, world=world, master=master, storage=storage)
        services = await wire_services(base)
        opened.pop_all()
    return services


async def wire_services(base: Foundation) -> Services:
    """Every wing over one foundation."""
    keys, clients = wire_keys(base), wire_clients(base)
    tokens = wire_tokens(base, clients)
    return Services(
        **asdict(base),
        keys=keys,
        registry=wire_registry(base, keys),
        clients=clients,
        tokens=tokens,
        fleet=wire_fleet(base, clients),
        upkeep=await wire_upkeep(base, keys=keys, clients=clients, tokens=tokens),
    )
