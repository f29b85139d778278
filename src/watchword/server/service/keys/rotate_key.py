"""Rotate signing keys: on schedule, by hand, in an emergency. Each is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from ....jose import Algorithm, PrivateKey
from ....jose.sealing import MasterKey
from ...audit.events import KeyActivated, KeyPublished, KeyRetired, KeyWithdrawn
from ...keys import rotation
from ...keys.model import SigningAlgorithm, SigningKey, State
from ...keys.rotation import Policy, Step
from ...registry.errors import Conflict, NotFound
from ..desk import EVERYTHING
from ..ports import Snapshot, Store, Transaction
from ..sealed_keys import ours, sealing_place

STANDARD: tuple[SigningAlgorithm, ...] = ("ES256", "RS256")
"""What every tenant has: our default, and what the App ID surface needs."""
_ALL = 1_000


class RotateKey:
    """The verbs around signing keys."""

    def __init__(
        self,
        store: Store,
        master: MasterKey,
        policy: Policy,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._master, self._policy, self._clock = store, master, policy, clock

    async def on_schedule(self, tenant_id: str) -> list[Step]:
        """Carry out the steps that are due. Every worker may call it: the second one finds nothing to do."""
        async with self._store.transaction() as tx:
            if await tx.tenants.get("", tenant_id) is None:  # also the lock that makes the second worker wait
                return []
            keys = await self._keys_of(tx, tenant_id)
            steps = rotation.plan(keys, _in_use(keys), self._clock(), self._policy)
            await self.take(tx, tenant_id, keys, steps)
        return steps

    async def due(self, tenant_ids: Sequence[str] | None = None) -> dict[str, float]:
        """When the keys of these tenants, or of all, must rotate next (seconds since the epoch); takes no lock."""
        async with self._store.snapshot() as seen:
            if tenant_ids is None:
                tenant_ids = [each.tenant_id for each in await seen.tenants.page("", None, EVERYTHING)]
            keys = {each: await self._keys_of(seen, each) for each in tenant_ids}
        return {tenant_id: rotation.due(found, _in_use(found), self._policy) for tenant_id, found in keys.items()}

    async def by_hand(
        self,
        tenant_id: str,
        algorithm: SigningAlgorithm,
        actor: str,
        request_id: str = "",
    ) -> list[Step]:
        """Start signing with the next key. Raises `Conflict` while verifiers may not have seen it yet."""
        now = self._clock()
        async with self._store.transaction() as tx:
            keys = await self._keys_of(tx, tenant_id)
            steps = rotation.turn(keys, algorithm)
            if not steps:
                raise NotFound(f"no {algorithm} key is in use")
            following = next(key for key in keys if key.kid == steps[1].kid)
            if not rotation.ready(following, now, self._policy):
                wait = int(following.published_at + self._policy.publish_ahead - now)
                raise Conflict(
                    f"the next key has not been published long enough; wait {wait} s, or use an emergency rotation"
                )
            await self.take(tx, tenant_id, keys, steps, actor, request_id)
        return steps

    async def in_emergency(self, tenant_id: str, kid: str, actor: str, request_id: str = "") -> list[Step]:
        """Withdraw a compromised key at once: its tokens become inactive, and the next key signs."""
        async with self._store.transaction() as tx:
            keys = await tx.keys.page(tenant_id, None, _ALL)
            known = {key.kid for key in ours(tenant_id, keys, self._master)}
            keys = [key for key in keys if key.kid in known or key.kid == kid]
            steps = rotation.emergency(keys, kid)
            if not steps:
                raise NotFound("there is no such key")
            await self.take(tx, tenant_id, keys, steps, actor, request_id, emergency=True)
        return steps

    async def ensure(self, tx: Transaction, tenant_id: str, algorithm: SigningAlgorithm, actor: str) -> None:
        """Make a key of an algorithm that this tenant did not use so far."""
        keys = await self._keys_of(tx, tenant_id)
        if not any(key.algorithm == algorithm and key.state == "active" for key in keys):
            steps = rotation.plan(keys, [algorithm], self._clock(), self._policy)
            await self.take(tx, tenant_id, keys, steps, actor)

    async def _keys_of(self, tx: Transaction | Snapshot, tenant_id: str) -> list[SigningKey]:
        """Rows that were not written with the master key take no part in a rotation."""
        return ours(tenant_id, await tx.keys.page(tenant_id, None, _ALL), self._master)

    async def take(
        self,
        tx: Transaction,
        tenant_id: str,
        keys: Sequence[SigningKey],
        steps: Sequence[Step],
        actor: str = "system",
        request_id: str = "",
        *,
        emergency: bool = False,
    ) -> None:
        """Carry out the steps, each with its audit event."""
        by_kid = {key.kid: key for key in keys}
        said: dict[str, Any] = {"at": self._clock(), "actor": actor, "request_id": request_id}
        for step in steps:
            match step.what:
                case "found" | "publish":
                    await self._publish(tx, tenant_id, step, said)
                case "activate":
                    await self._activate(tx, by_kid[step.kid], said)
                case "retire":
                    await self._retire(tx, by_kid[step.kid], said)
                case "withdraw":
                    await self._withdraw(tx, by_kid[step.kid], said, emergency=emergency)

    async def _publish(self, tx: Transaction, tenant_id: str, step: Step, said: dict[str, Any]) -> None:
        """Make a key: the first of its algorithm signs at once."""
        first = step.what == "found"
        key = self._new(tenant_id, step.algorithm, "active" if first else "next", int(said["at"]))
        await tx.keys.add(key)
        tx.record(tenant_id, KeyPublished(kid=key.kid, algorithm=key.algorithm, **said))
        if first:
            tx.record(tenant_id, KeyActivated(kid=key.kid, algorithm=key.algorithm, **said))

    async def _activate(self, tx: Transaction, key: SigningKey, said: dict[str, Any]) -> None:
        await tx.keys.replace(_next(key, state="active", activated_at=int(said["at"])))
        tx.record(key.tenant_id, KeyActivated(kid=key.kid, algorithm=key.algorithm, **said))

    async def _retire(self, tx: Transaction, key: SigningKey, said: dict[str, Any]) -> None:
        at = int(said["at"])
        gone_at = at + self._policy.keep_retired
        await tx.keys.replace(_next(key, state="retiring", retired_at=at, gone_at=gone_at))
        tx.record(key.tenant_id, KeyRetired(kid=key.kid, gone_at=gone_at, **said))

    async def _withdraw(self, tx: Transaction, key: SigningKey, said: dict[str, Any], *, emergency: bool) -> None:
        """End a key and delete its private part."""
        await tx.keys.replace(_next(key, state="gone", gone_at=int(said["at"]), sealed=b""))
        tx.record(key.tenant_id, KeyWithdrawn(kid=key.kid, emergency=emergency, **said))

    def _new(self, tenant_id: str, algorithm: SigningAlgorithm, state: State, at: int) -> SigningKey:
        key = PrivateKey.generate(Algorithm(algorithm))
        return SigningKey(
            tenant_id=tenant_id,
            kid=key.kid,
            algorithm=algorithm,
            state=state,
            public_jwk=key.public.to_jwk(),
            sealed=self._master.seal(key.to_pkcs8(), sealing_place(tenant_id, key.kid)),
            published_at=at,
            activated_at=at if state == "active" else None,
        )


def _in_use(keys: Sequence[SigningKey]) -> list[SigningAlgorithm]:
    return sorted({key.algorithm for key in keys if key.state != "gone"} | set(STANDARD))


def _next(key: SigningKey, **fields: object) -> SigningKey:
    return replace(key, version=key.version + 1, **fields)
