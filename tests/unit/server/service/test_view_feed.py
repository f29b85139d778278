"""What a worker knows follows the feed to its end, however long the feed has become."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from watchword.jose.sealing import create_master_key, load_master_key
from watchword.server.registry.model import Tenant
from watchword.server.service.ports import Change, TenantState
from watchword.server.service.view import View

PIECE = 3


class Feed:
    """A reader of one tenant whose feed is read in pieces."""

    def __init__(self) -> None:
        self.changes_kept: list[Change] = []
        self.loaded = 0

    def add(self, *seqs: int) -> None:
        self.changes_kept += [Change(seq, "t1", "application", f"app-{seq}") for seq in seqs]

    async def tenant(self, slug: str, now: float) -> TenantState:
        self.loaded += 1
        tenant = Tenant(tenant_id="t1", slug=slug, name="One", created_at=1)
        return TenantState(tenant=tenant, apis=[], roles=[], keys=[], revoked={}, issuers=[], authorities=[])

    async def changes(self, since: int) -> Sequence[Change]:
        return [change for change in self.changes_kept if change.seq > since][:PIECE]

    async def newest_change(self) -> int:
        return self.changes_kept[-1].seq if self.changes_kept else 0


async def view_of(feed: Any, folder: Path) -> View:
    create_master_key(folder / "key")
    view = View(feed, load_master_key(folder / "key"), clock=lambda: 1.0, monotonic=lambda: 1.0)
    await view.start()
    return view


async def test_more_changes_than_one_reading_holds(tmp_path: Path) -> None:
    """After a bulk change a worker would call itself fresh while most of the change is still unread."""
    feed = Feed()
    view = await view_of(feed, tmp_path)
    feed.add(*range(1, PIECE * 4))
    heard: list[int] = []
    view.listeners.append(lambda change: heard.append(change.seq))
    await view.refresh()
    assert heard == list(range(1, PIECE * 4))
    assert view.seq == PIECE * 4 - 1


async def test_a_feed_that_was_pruned_past_us(tmp_path: Path) -> None:
    """What a slow worker missed would never be told to it again: a disabled device would go on there."""
    feed = Feed()
    view = await view_of(feed, tmp_path)
    await view.tenant("one")
    feed.add(1)
    await view.refresh()
    await view.tenant("one")
    assert feed.loaded == 1, "one application changed, not the tenant"
    feed.changes_kept.clear()
    feed.add(5, 6)
    await view.refresh()
    await view.tenant("one")
    assert (feed.loaded, view.seq) == (2, 6)


async def test_the_usual_reading(tmp_path: Path) -> None:
    """A worker that forgets its tenants at each change answers from the database."""
    feed = Feed()
    view = await view_of(feed, tmp_path)
    await view.tenant("one")
    for seq in (1, 2, 3):
        feed.add(seq)
        await view.refresh()
    await view.tenant("one")
    assert (feed.loaded, view.seq) == (1, 3)
