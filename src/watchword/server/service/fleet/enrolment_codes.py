"""Create and withdraw enrolment codes."""

from __future__ import annotations

from msgspec import Struct

from ...audit.fleet_events import EnrolmentCodesCreated, EnrolmentCodesWithdrawn
from ...protocol.enrolment import check_open
from ...protocol.errors import EnrolmentRefused
from ...registry.errors import Conflict
from ...registry.fleet.enrolment import MAX_OPEN_CODES, EnrolmentCode, EnrolmentGroup, check_codes
from ...registry.secret_text import ENROLMENT_PREFIX, digest, generate
from ..desk import Caller, Desk, found


class NewEnrolmentCodes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`count` codes, each for `uses` devices; `expires_in` is seconds."""

    count: int = 1
    uses: int = 1
    expires_in: int = 7 * 86_400


async def create_enrolment_codes(
    desk: Desk, caller: Caller, group_id: str, wanted: NewEnrolmentCodes
) -> tuple[list[str], int]:
    """The codes' texts, shown once, and when they expire. Raises `Invalid`, `NotFound`, `Conflict`."""
    check_codes(wanted.count, wanted.uses, wanted.expires_in)
    now = int(desk.clock())
    texts = [generate(desk.random_bytes(32), ENROLMENT_PREFIX) for _ in range(wanted.count)]
    made = [
        EnrolmentCode(
            tenant_id=caller.tenant_id, digest=digest(desk.pepper, text.encode()), group_id=group_id,
            uses_left=wanted.uses, expires_at=now + wanted.expires_in,
        )
        for text in texts
    ]  # fmt: skip
    async with desk.transaction(caller) as tx:
        group: EnrolmentGroup = found(await tx.enrolment_groups.get(caller.tenant_id, group_id), "enrolment group")
        try:
            check_open(group, "code", now)
        except EnrolmentRefused:
            raise Conflict("nobody enrols in this group: change its ways or its expires_at first") from None
        if await tx.codes.count_open(caller.tenant_id, group_id, now) + wanted.count > MAX_OPEN_CODES:
            raise Conflict(f"a group has at most {MAX_OPEN_CODES} open codes: withdraw them first", field="count")
        await tx.codes.add(made)
        event = EnrolmentCodesCreated(
            group_id=group_id, count=wanted.count, uses=wanted.uses, expires_at=made[0].expires_at, **desk.said(caller)
        )
        tx.record(caller.tenant_id, event)
    return texts, made[0].expires_at


async def withdraw_enrolment_codes(desk: Desk, caller: Caller, group_id: str) -> None:
    """All codes of this group are rejected from now on; enrolled devices stay. Raises `NotFound`."""
    async with desk.store.transaction() as tx:
        found(await tx.enrolment_groups.get(caller.tenant_id, group_id), "enrolment group")
        count = await tx.codes.withdraw(caller.tenant_id, group_id)
        if count:
            tx.record(caller.tenant_id, EnrolmentCodesWithdrawn(group_id=group_id, count=count, **desk.said(caller)))
