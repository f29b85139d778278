"""Wires the wing `upkeep`: the audit log, its pruning, exports, and the chores that run beside requests."""

from __future__ import annotations

from msgspec import Struct

from ..service.upkeep.export_instance import ExportInstance
from ..service.upkeep.housekeeping import Chores, Housekeeping
from ..service.upkeep.prune_audit import PruneAudit
from ..storage.audit_log.checkpoints import CheckpointChain
from ..storage.audit_log.epoch import Epoch
from ..storage.audit_log.log import AuditLog
from ..storage.audit_log.pruning import AuditPruning
from ..storage.audit_log.signing import AuditSigning
from ..storage.audit_log.statements import audit_key
from ..storage.transfer import Transfer
from .clients import Clients
from .foundation import AUDIT_CHECKPOINTS, AUDIT_ROWS, Foundation
from .keys import Keys
from .tokens import Tokens

_DAY = 86_400


class Upkeep(Struct, frozen=True, kw_only=True):
    """The verbs over the database as a whole."""

    audit: AuditLog
    checkpoints: CheckpointChain
    prune_audit: PruneAudit
    export: ExportInstance
    housekeeping: Housekeeping


async def wire_upkeep(base: Foundation, *, keys: Keys, clients: Clients, tokens: Tokens) -> Upkeep:
    """The wing over this database; reads the key that signs audit checkpoints. Raises `StorageUnavailable`."""
    storage, clock = base.storage, base.world.clock
    signing, key = await audit_key(storage.engine, base.master), base.master.derive(AUDIT_ROWS)
    chain = CheckpointChain(
        storage.engine, base.master.derive(AUDIT_CHECKPOINTS), Epoch(base.settings.epoch_path), clock
    )
    prune_audit = PruneAudit(AuditPruning(storage.engine, storage.store, chain, signing, clock), clock)
    return Upkeep(
        audit=AuditLog(storage.engine, chain, signing, key),
        checkpoints=chain,
        prune_audit=prune_audit,
        export=_export(base),
        housekeeping=Housekeeping(
            view=base.view,
            store=storage.store,
            commits=base.commits,
            refusals=tokens.refusals,
            uses=clients.uses,
            limits=tokens.limits,
            chores=_chores(base, keys, AuditSigning(storage.engine, chain, key, clock), prune_audit),
            clock=clock,
        ),
    )


def _export(base: Foundation) -> ExportInstance:
    storage, world = base.storage, base.world
    source = Transfer(storage.engine, storage.store)
    return ExportInstance(source, storage.store, base.master, world.clock, world.random_bytes)


def _chores(base: Foundation, keys: Keys, signing: AuditSigning, prune_audit: PruneAudit) -> Chores:
    store, clock, days = base.storage.store, base.world.clock, base.settings.audit_retention_days

    async def bind_chains() -> None:
        await signing.bind({**base.commits.heads(), **store.heads()})

    async def prune_by_age() -> None:
        if days:
            await prune_audit(clock() - days * _DAY)

    return Chores(rotate_keys=keys.schedule, bind_chains=bind_chains, purge=store.purge, prune_audit=prune_by_age)
