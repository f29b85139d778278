"""Two nodes, one database, one moment: each race has one outcome that both sides agree on."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.flows.cli.test_command_line import COMMAND, environment
from tests.support.nodes import Node, at_once

from watchword.server.audit.events import TokenIssued, TokenRevoked
from watchword.server.protocol.token_form import token_request
from watchword.server.registry.errors import Conflict, NotFound, VersionMismatch
from watchword.server.registry.model import Grant
from watchword.server.registry.secret_text import digest
from watchword.server.service.registry.change_application import (
    ApplicationChange,
    delete_application,
    update_application,
)
from watchword.server.service.registry.create_application import NewApplication, create_application
from watchword.server.service.registry.define_api import NewApi, create_api, delete_api
from watchword.server.service.registry.delete_tenant import delete_tenant
from watchword.server.service.registry.rotate_secret import revoke_secret, rotate_secret
from watchword.server.service.view import FRESH

Pair = tuple[Node, Node]
ROUNDS = 5


async def registered(node: Node, name: str = "caller") -> Any:
    """A new application."""
    made, _ = await create_application(node.desk, node.caller, NewApplication(name=name))
    return made


async def now(node: Node, client_id: str) -> Any:
    """The application as it stands."""
    return await node.services.storage.reader.application(node.tenant.tenant_id, client_id)


def names(results: list[Any]) -> list[str]:
    """What came of it: the errors' names, `ok` for the rest."""
    return sorted(type(each).__name__ if isinstance(each, BaseException) else "ok" for each in results)


async def test_two_renames_of_one_version(pair: Pair) -> None:
    """RAC-005 below HTTP: both operators would be told that theirs is the name."""
    for number in range(ROUNDS):
        made = await registered(pair[0], f"app {number}")

        async def rename(node: Node, name: str, id_: str = made.client_id) -> None:
            await update_application(node.desk, node.caller, id_, ApplicationChange(name=name), 1)

        results = await at_once(lambda: rename(pair[0], "left"), lambda: rename(pair[1], "right"))
        assert names(results) == ["VersionMismatch", "ok"]
        after = await now(pair[0], made.client_id)
        assert (after.name, after.version) == ("left" if results[0] is None else "right", 2)


async def test_two_secret_rotations(pair: Pair) -> None:
    """A secret that was handed out would never have worked, or more would live than the rule allows."""
    for number in range(ROUNDS):
        made = await registered(pair[0], f"app {number}")
        results = await at_once(
            *(lambda n=node, i=made.client_id: rotate_secret(n.desk, n.caller, i, 600) for node in pair)
        )
        assert names(results) in (["ok", "ok"], ["VersionMismatch", "ok"])
        after = await now(pair[0], made.client_id)
        kept = {secret.digest for secret in after.secrets}
        handed_out = {
            digest(pair[0].services.pepper, text.encode()) for r in results if isinstance(r, tuple) for text in r[2:]
        }
        assert handed_out <= kept
        assert len(kept) == 2


async def test_the_last_two_secrets_are_ended_at_once(pair: Pair) -> None:
    """Each operator would see that another secret remains, and the application would be left with none."""
    for number in range(ROUNDS):
        made = await registered(pair[0], f"app {number}")
        after = (await rotate_secret(pair[0].desk, pair[0].caller, made.client_id, 600)).application
        results = await at_once(
            *(
                lambda n=node, i=made.client_id, s=secret.id: revoke_secret(n.desk, n.caller, i, s)
                for node, secret in zip(pair, after.secrets, strict=True)
            )
        )
        assert names(results) in (["Conflict", "ok"], ["VersionMismatch", "ok"])
        assert len((await now(pair[0], made.client_id)).secrets) == 1


async def test_rename_races_delete(pair: Pair) -> None:
    """A deleted application would come back to life under its new name."""
    a, b = pair
    for number in range(ROUNDS):
        id_ = (await registered(a, f"app {number}")).client_id
        results = await at_once(
            lambda i=id_: update_application(a.desk, a.caller, i, ApplicationChange(name="renamed")),
            lambda i=id_: delete_application(b.desk, b.caller, i),
        )
        assert set(names(results)) <= {"ok", "NotFound", "VersionMismatch"}
        assert "ok" in names(results)
        if results[1] is None:
            assert await now(a, id_) is None


async def test_a_grant_races_the_deletion_of_its_api(pair: Pair) -> None:
    """A grant at an API that is gone gives nothing, in whichever order they came."""
    a, b = pair
    for number in range(ROUNDS):
        api = await create_api(
            a.desk, a.services.keys.rotate, a.caller, NewApi(identifier=f"https://{number}.example/", name="x")
        )
        wanted = NewApplication(name="holds it", default_api_id=api.api_id)
        results = await at_once(
            lambda w=wanted: create_application(a.desk, a.caller, w),
            lambda i=api.api_id: delete_api(b.desk, b.caller, i),
        )
        assert results[1] is None
        assert names(results) in (["ok", "ok"], ["Invalid", "ok"])
        state = await a.services.storage.reader.tenant("default", 0.0)
        assert state is not None
        assert api.api_id not in {each.api_id for each in state.apis}


async def test_delete_tenant_races_issue(pair: Pair) -> None:
    """A tenant that was acknowledged as gone would hand out one more token."""
    a, b = pair
    for number in range(ROUNDS):
        first = await a.services.registry.create_tenant(f"t{number}", "T")
        tenant_id, client_id = first.tenant.tenant_id, first.client_id
        as_of = await b.services.storage.reader.newest_change()
        event = TokenIssued(at=1.0, token_id=f"t-{number}", audience=(), scope="", expires_at=2)
        submit, late = b.services.commits.submit, event
        issued, gone = await at_once(
            lambda s=submit, t=tenant_id, c=client_id, e=event, n=as_of: s(t, c, e, None, n),
            lambda s=f"t{number}": delete_tenant(a.desk, a.caller, s),
        )
        assert gone is None
        recorded = [row.payload async for row in a.services.upkeep.audit.rows(tenant_id)]
        assert any(b'"t-%d"' % number in payload for payload in recorded) is issued
        assert await submit(tenant_id, client_id, late, None, as_of) is False
        await b.services.view.refresh()
        assert await b.services.view.tenant(f"t{number}") is None


async def test_two_revocations_of_one_token(pair: Pair) -> None:
    """One revocation would stand twice on record, or fail for whoever came second."""
    a, b = pair
    for number in range(ROUNDS):

        async def revoke(node: Node, token_id: str = f"token-{number}") -> bool:
            async with node.store.transaction() as tx:
                first = await tx.revoke_token(node.tenant.tenant_id, token_id, 9_999_999_999)
                if first:
                    tx.record(node.tenant.tenant_id, TokenRevoked(at=1.0, token_id=token_id))
                return first

        assert sorted(await at_once(lambda r=revoke: r(a), lambda r=revoke: r(b))) == [False, True]
    await b.services.view.refresh()
    view = await b.services.view.tenant("default")
    assert view is not None
    assert len(view.revoked) == ROUNDS


async def test_a_node_s_own_change_hides_no_other_node_s(pair: Pair) -> None:
    """REV-011 on two nodes: after a change of its own, a node would never hear of a revocation just before it."""
    a, b = pair
    async with a.store.transaction() as tx:
        await tx.revoke_token(a.tenant.tenant_id, "revoked-by-a", 9_999_999_999)
    await registered(b)
    await b.services.view.refresh()
    view = await b.services.view.tenant("default")
    assert view is not None
    assert set(view.revoked) == {"revoked-by-a"}


async def test_revoke_races_issue_on_another_node(pair: Pair) -> None:
    """A revocation would send every request of the moment back, or be lost among them."""
    a, b = pair
    as_of = await b.services.storage.reader.newest_change()
    events = [TokenIssued(at=1.0, token_id=f"t{n}", audience=(), scope="", expires_at=2) for n in range(20)]

    async def revoke(n: int) -> None:
        async with a.store.transaction() as tx:
            assert await tx.revoke_token(a.tenant.tenant_id, f"t{n}", 9_999_999_999)

    results = await at_once(
        *(lambda e=event: b.services.commits.submit(b.tenant.tenant_id, "x", e, None, as_of) for event in events),
        *(lambda n=n: revoke(n) for n in range(20)),
    )
    assert results == [True] * 20 + [None] * 20
    await b.services.view.refresh()
    view = await b.services.view.tenant("default")
    assert view is not None
    assert set(view.revoked) == {f"t{n}" for n in range(20)}


async def test_rac_010_a_revocation_ends_what_another_node_remembers(pair: Pair) -> None:
    """RAC-010 without HTTP: "active" would stay after the token was revoked elsewhere."""
    a, b = pair
    asks = (await registered(a, "asks")).client_id
    wanted = NewApi(identifier="https://rs1.example/", name="an API", introspectors=(asks,))
    api = await create_api(a.desk, a.services.keys.rotate, a.caller, wanted)
    made, text = await create_application(
        a.desk, a.caller, NewApplication(name="caller", grants=(Grant(api_id=api.api_id, scopes=()),))
    )
    assert text is not None
    await b.services.view.refresh()
    request = token_request({"grant_type": "client_credentials"}, (made.client_id, text))
    token = (await a.services.tokens.issue("default", request, a.services.tokens.native)).access_token

    async def asked_at_b() -> bool:
        tenant = await b.services.view.tenant("default")
        assert tenant is not None
        return bool((await b.services.tokens.introspect(tenant, asks, token))["active"])

    assert await asked_at_b()
    tenant = await a.services.view.tenant("default")
    assert tenant is not None
    await a.services.tokens.revoke(tenant, made.client_id, token)
    a.clock.now += FRESH + 0.01
    assert not await asked_at_b()


async def test_two_nodes_rotate_keys_on_schedule(pair: Pair) -> None:
    """ROT-007 on two nodes: two keys would sign, or the round would fail on one of them with an error."""
    a, _ = pair
    a.clock.now += 31 * 86_400
    results = await at_once(*(lambda n=node: n.services.upkeep.housekeeping.rotate_keys() for node in pair))
    assert results == [None, None]
    state = await a.services.storage.reader.tenant("default", 0.0)
    assert state is not None
    states = sorted((key.algorithm, key.state) for key in state.keys)
    assert states == [(alg, each) for alg in ("ES256", "RS256") for each in ("active", "next", "retiring")]


async def test_nobody_is_visited_before_a_key_is_due(pair: Pair) -> None:
    """Every worker would open a write transaction for every tenant, twice a minute, for nothing."""
    a, _ = pair
    await a.services.registry.create_tenant("other", "Other")
    visited: list[str] = []
    rotate = a.services.keys.rotate.on_schedule

    class Counting:
        due = a.services.keys.rotate.due

        async def on_schedule(self, tenant_id: str) -> Any:
            visited.append(tenant_id)
            return await rotate(tenant_id)

    from watchword.server.composition.keys import policy_of
    from watchword.server.service.keys.key_schedule import KeySchedule

    policy = policy_of(a.services.settings)
    schedule = KeySchedule(Counting(), policy, a.clock)  # type: ignore[arg-type]
    for _ in range(3):
        await schedule()
    a.clock.now += policy.period - 1
    await schedule()
    assert visited == []
    a.clock.now += 1
    for _ in range(3):
        await schedule()
    assert len(visited) == len(set(visited)) == 2
    a.clock.now += policy.keep_retired
    await schedule()
    assert len(visited) == 4
    a.clock.now += policy.period
    await schedule()
    assert len(visited) == 6


def test_many_initialisers_make_one_instance(empty_url: str, tmp_path: Path) -> None:
    """ADM-022 on both databases: nodes that start at once would make two administrators, or one would fail."""
    command = [*COMMAND, "init", "--json", "--database", empty_url]
    started = [
        subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert sum("client_secret" in answer for answer in answers) == 1


@pytest.mark.parametrize("error", [Conflict, NotFound, VersionMismatch])
async def test_a_refused_change_is_no_outage(pair: Pair, error: type[Exception]) -> None:
    """A refusal of the registry's rules would be answered with 503 and tried again for ever."""
    with pytest.raises(error):
        async with pair[0].store.transaction():
            raise error("on purpose")
    assert await registered(pair[0])
