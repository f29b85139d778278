"""Several nodes of one instance in this process: each has its own connections, caches and chains."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.first_start import Open, first_start
from tests.support.instance import Clock

from watchword.server.composition.foundation import World
from watchword.server.composition.services import Services, open_services
from watchword.server.config import Settings
from watchword.server.registry.model import Api, Application, Tenant
from watchword.server.service.desk import Caller


class Node:
    """One node: its services, and a desk for the administrative verbs."""

    def __init__(self, services: Services, tenant: Tenant, clock: Clock) -> None:
        self.services, self.tenant, self.clock = services, tenant, clock
        self.store, self.engine = services.storage.store, services.storage.engine
        self.caller = Caller(tenant.tenant_id, "tester")
        self.desk = services.desk

    def application(self, client_id: str, name: str = "caller", version: int = 1) -> Application:
        """A record of this tenant."""
        return Application(
            tenant_id=self.tenant.tenant_id, client_id=client_id, name=name, created_at=1, version=version
        )

    def api(self, api_id: str, identifier: str) -> Api:
        """A record of this tenant."""
        return Api(tenant_id=self.tenant.tenant_id, api_id=api_id, identifier=identifier, name="an API", created_at=1)


def settings(folder: Path, url: str, **more: Any) -> Settings:
    """For any number of nodes on one database."""
    return Settings(database_url=url, master_key_file=str(folder / "watchword.key"), **more)


@asynccontextmanager
async def nodes(folder: Path, url: str, count: int = 2) -> AsyncIterator[list[Node]]:
    """Initialised once, opened `count` times."""
    clock = Clock()
    world = World(clock=clock, monotonic=clock, random_bytes=os.urandom)
    async with AsyncExitStack() as stack:
        stack.enter_context(Open())
        await first_start(settings(folder, url), world)
        made = []
        for _ in range(count):
            services = await open_services(settings(folder, url), world)
            stack.push_async_callback(services.storage.close)
            tenant = await services.view.tenant("default")
            assert tenant is not None
            made.append(Node(services, tenant.tenant, clock))
        yield made


async def at_once(*works: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Begin all of them behind one barrier; results and exceptions, in order."""
    barrier = asyncio.Barrier(len(works))

    async def one(work: Callable[[], Awaitable[Any]]) -> Any:
        await barrier.wait()
        return await work()

    return await asyncio.gather(*(one(work) for work in works), return_exceptions=True)
