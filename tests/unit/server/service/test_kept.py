"""A cache that tenants share: one tenant's ten thousand addresses are its own trouble."""

from __future__ import annotations

from watchword.server.service.clients.fetched_keys import MAX_PLACES, FetchedKeys


async def test_one_tenant_cannot_push_out_the_keys_of_another() -> None:
    """A tenant with more applications than the cache has places made every other tenant fetch again and again."""
    asked: list[str] = []
    keys: FetchedKeys[str] = FetchedKeys("", lambda: 1_000.0)

    async def get(tenant: str, application: int) -> None:
        async def ask() -> str:
            asked.append(tenant)
            return "keys"

        await keys.get((tenant, str(application)), ask, lambda found: False)

    for application in range(20):
        await get("quiet", application)
    for application in range(MAX_PLACES + 100):
        await get("greedy", application)
    for application in range(20):
        await get("quiet", application)
    assert asked.count("quiet") == 20
    await get("greedy", 0)
    assert asked.count("greedy") == MAX_PLACES + 101, "its oldest keys are the ones that went"
