"""Write and read signed statements about the audit log: checkpoints (chain heads) and anchors (pruned rows)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ....jose import Algorithm, BadSignature, PrivateKey
from ....jose.sealing import MasterKey
from ...audit.verification import Place
from .. import schema
from ..open import read_meta, write_meta

_PLACE = "audit_key"


class Checkpoint(Struct, frozen=True):
    """The heads of the chains at one moment; names are "tenant/chain"."""

    at: float
    heads: dict[str, Place]


class Anchor(Struct, frozen=True):
    """The last pruned row of each chain, of all prunings so far: the chain begins after it."""

    at: float
    before: float
    pruned: dict[str, Place]


S = TypeVar("S", Checkpoint, Anchor)


async def audit_key(engine: AsyncEngine, master: MasterKey) -> PrivateKey:
    """The key that signs checkpoints; generated once, encrypted under the master key."""
    sealed = await read_meta(engine, _PLACE)
    if sealed is None:
        made = PrivateKey.generate(Algorithm.ES256)
        await write_meta(engine, _PLACE, master.seal(made.to_pkcs8(), _PLACE))
        sealed = await read_meta(engine, _PLACE)
        assert sealed is not None
    return PrivateKey.from_pkcs8(master.unseal(sealed, _PLACE), Algorithm.ES256, None)


class Statements(Generic[S]):
    """A table of signed statements."""

    def __init__(self, table: sa.Table, kind: type[S], key: PrivateKey) -> None:
        self.table, self._key = table, key
        self._decode: Callable[[bytes], S] = msgspec.json.Decoder(kind).decode

    async def write(self, connection: AsyncConnection, said: S) -> None:
        """Sign and insert, inside the caller's transaction."""
        statement = msgspec.json.encode(said)
        values = {"statement": statement, "signature": self._key.sign(statement)}
        await connection.execute(sa.insert(self.table).values(**values))

    async def read(
        self, connection: AsyncConnection, after: int = 0, limit: int | None = None
    ) -> list[tuple[int, S | None]]:
        """Oldest first; None in place of a statement whose signature is wrong."""
        t = self.table
        query = sa.select(t.c.id, t.c.statement, t.c.signature).where(t.c.id > after).order_by(t.c.id).limit(limit)
        return [(row[0], self._open(bytes(row[1]), bytes(row[2]))) for row in await connection.execute(query)]

    def _open(self, unverified_statement: bytes, signature: bytes) -> S | None:
        try:
            self._key.public.verify(unverified_statement, signature)
        except BadSignature:
            return None
        return self._decode(unverified_statement)


def checkpoints(key: PrivateKey) -> Statements[Checkpoint]:
    """The table of checkpoints."""
    return Statements(schema.checkpoint, Checkpoint, key)


def anchors(key: PrivateKey) -> Statements[Anchor]:
    """The table of anchors."""
    return Statements(schema.anchor, Anchor, key)
