"""By what a device asks to be let in: looked up without a transaction that writes, so that a stranger gets none."""

from __future__ import annotations

from msgspec import Struct

from ..protocol.enrolment import EnrolmentRequest
from ..protocol.errors import InvalidGrant
from ..registry.enrolment import Way
from ..registry.errors import Conflict
from ..registry.model import Application
from ..registry.secret_text import digest
from .desk import Desk
from .ports import Contention, Snapshot, Transaction

ENROLMENT = "enrolment"


class Entry(Struct, frozen=True, kw_only=True):
    """What was found; it may be gone when the transaction begins."""

    way: Way
    group_id: str
    mark: str
    """By which the device's repeats are known. It goes with the application."""
    code: str = ""
    """The digest of the code that is to be used."""


Found = tuple[Entry, Application | None]
"""And the application that the device has already."""


async def by_code(desk: Desk, tenant_id: str, wanted: EnrolmentRequest) -> Found:
    """Raises `InvalidGrant`."""
    kept = digest(desk.pepper, wanted.unverified_code.encode("utf-8", "surrogatepass"))
    mark = digest(desk.pepper, f"{kept}\n{wanted.enrolment_id}".encode("utf-8", "surrogatepass"))
    async with desk.store.snapshot() as seen:
        code = await seen.codes.get(tenant_id, kept)
        before = await _holder(seen, tenant_id, mark)
    if code is None or (before is None and not code.live(desk.clock())):
        raise InvalidGrant
    return Entry(way="code", group_id=code.group_id, mark=mark, code=kept), before


async def by_key(desk: Desk, tenant_id: str, key: str) -> Found:
    """By the thumbprint of a key that is the caller's own. Raises `InvalidGrant`."""
    mark = mark_of_key(desk, key)
    async with desk.store.snapshot() as seen:
        before = await _holder(seen, tenant_id, mark)
        listed = await seen.expected.find(tenant_id, [], [key])
    if before is None and not listed:
        raise InvalidGrant(rule="key")
    group_id = before.group_id if before is not None else listed[0].group_id
    return Entry(way="key", group_id=group_id or "", mark=mark), before


def mark_of_key(desk: Desk, key: str) -> str:
    """Who came with a key that was expected is known by it."""
    return digest(desk.pepper, f"key\n{key}".encode())


async def claim_once(tx: Transaction, tenant_id: str, mark: str, client_id: str) -> None:
    """Raises `Contention`: the one that came first is found when this is done again."""
    try:
        await tx.claim(tenant_id, ENROLMENT, mark, client_id)
    except Conflict:
        raise Contention("another request of this device came first") from None


async def _holder(seen: Snapshot, tenant_id: str, mark: str) -> Application | None:
    client_id = await seen.holder(tenant_id, ENROLMENT, mark)
    return await seen.applications.get(tenant_id, client_id) if client_id else None
