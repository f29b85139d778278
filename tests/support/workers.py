"""Two workers on one database whose steps hypothesis chooses: each may end and come back at any moment."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.support.instance import Instance, instance, node
from tests.support.postgres import Postgres

from watchword.server.audit.search import Wanted

EITHER = st.sampled_from([0, 1])
STEPS = settings(
    max_examples=8, stateful_step_count=25, phases=[Phase.generate], deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


class TwoWorkers(RuleBasedStateMachine):
    """What the machines have in common. `SETTINGS` are those of the instance."""

    SETTINGS: ClassVar[dict[str, Any]] = {}

    def __init__(self, database_url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.url = database_url

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    async def set_up(self) -> None:
        """What a machine needs on its instance."""

    @initialize()
    def begin(self) -> None:
        self.opened = instance(Path(self.folder.name), self.url, **self.SETTINGS)
        self.ww: Instance = self.run(self.opened.__aenter__())
        self.nodes: list[Any] = [None, None]
        self.workers: list[Instance] = [self.ww, self.ww]
        for n in (0, 1):
            self.restart(n)
        self.run(self.set_up())

    @rule(n=EITHER)
    def restart(self, n: int) -> None:
        """A worker ends and comes back."""
        if self.nodes[n] is not None:
            self.run(self.nodes[n].__aexit__(None, None, None))
        self.nodes[n] = node(self.ww.services.settings, self.ww.clock, self.ww.admin)
        self.workers[n] = self.run(self.nodes[n].__aenter__())

    async def tenant_id(self) -> str:
        """Of the default tenant."""
        view = await self.ww.services.view.tenant("default")
        assert view is not None
        return view.tenant.tenant_id

    async def issued_to(self, client_id: str) -> int:
        """Tokens in the audit log."""
        wanted = Wanted(event="TokenIssued", client_id=client_id)
        tenant_id, count, after = await self.tenant_id(), 0, None
        while True:
            page = await self.ww.services.upkeep.audit.search(tenant_id, wanted, after, 1_000)
            count += sum(event.actor == client_id for event in page.events)
            after = page.following
            if after is None:
                return count

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            for each in self.nodes:
                if each is not None:
                    self.run(each.__aexit__(None, None, None))
            self.run(self.opened.__aexit__(None, None, None))
        self.runner.close()
        self.folder.cleanup()


def in_every_order(
    machine: Callable[[str], TwoWorkers], database: str, request: pytest.FixtureRequest, steps: settings = STEPS
) -> None:
    """Run it, each time on a fresh database."""
    postgres: Postgres | None = request.getfixturevalue("postgres") if database == "postgres" else None
    run_state_machine_as_test(lambda: machine(postgres.promised_database() if postgres else ""), settings=steps)
