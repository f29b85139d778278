"""One request for all who need a token at once, counted by a real server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.counting_issuer import CountingIssuer, Reply, counting_issuer, token

from watchword.client import ClientCredentials, Clock, DiskCache, Network, TokenRefused, TokenUnavailable

PROCESS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from watchword.client import ClientCredentials, DiskCache, Network
auth = ClientCredentials(sys.argv[1], "an-id", "a-secret", cache=DiskCache(sys.argv[2]), network=Network(tries=1))
sys.stdin.readline()  # all begin at once
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda _n: auth.token().value, range(8)))
print(*sorted(set(found)))
"""


def credentials(issuer: CountingIssuer, **options: object) -> ClientCredentials:
    return ClientCredentials(issuer.url, "an-id", "a-secret", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("expired", [pytest.param(False, id="CLI-002 cold"), pytest.param(True, id="CLI-002 expired")])
def test_threads_and_tasks_together(expired: bool) -> None:
    """A program with threads beside its event loop would send a request for each kind, or one for each waiter."""
    clock = [1_000_000.0]
    with counting_issuer() as issuer:
        auth = credentials(issuer, network=Network(clock=Clock(now=lambda: clock[0])))
        if expired:
            auth.token()
            clock[0] += 1000
        before, begin = len(issuer.asked), threading.Barrier(101)

        def thread(_n: int) -> str:
            begin.wait(30)
            return auth.token().value

        async def tasks() -> set[str]:
            begin.wait(30)
            return {t.value for t in await asyncio.gather(*(auth.atoken() for _ in range(100)))}

        with ThreadPoolExecutor(100) as pool:
            threads = pool.map(thread, range(100))
            values = asyncio.run(tasks()) | set(threads)
        assert ({f"token-{before + 1}"}, before + 1) == (values, len(issuer.asked))


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-002 between two looks")])
def test_a_flight_that_has_just_landed(_: int) -> None:
    """Who looks a moment before another's token arrives, and boards a moment after, would ask once more."""
    clock, between = [1_000_000.0], [False]

    def now() -> float:
        if between[0]:  # the other thread renews here, after our look into the cache and before we board
            between[0] = False
            assert auth.token().value == "token-2"
        return clock[0]

    with counting_issuer() as issuer:
        auth = credentials(issuer, network=Network(clock=Clock(now=now)))
        auth.token()
        clock[0] += 1000
        between[0] = True
        assert (auth.token().value, len(issuer.asked)) == ("token-2", 2)


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-002 processes")])
def test_processes(tmp_path: Path, _: int) -> None:
    """Every cron job of the full hour would ask for a token of its own."""
    with counting_issuer() as issuer:
        command = [sys.executable, "-c", PROCESS, issuer.url, str(tmp_path / "cache")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        children = [subprocess.Popen(command, **pipes) for _n in range(8)]  # type: ignore[call-overload]
        answers = [child.communicate("go\n")[0] for child in children]
        assert (answers, len(issuer.asked)) == (["token-1\n"] * 8, 1)


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-002 a failure is shared")])
async def test_a_failure_is_shared(_: int) -> None:
    """Those who wait for a refused request would repeat it one by one, and lock the application out."""
    boarded = threading.Event()

    def refuse(_n: int) -> Reply:
        boarded.wait(30)
        return Reply(401, b'{"error":"invalid_client"}')

    with counting_issuer(refuse) as issuer:
        auth = credentials(issuer)
        waiting = [asyncio.create_task(auth.atoken()) for _n in range(200)]
        await asyncio.sleep(0)  # every task has had its first turn, and waits
        boarded.set()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in errors] == [TokenRefused] * 200
        assert len(issuer.asked) == 1


async def test_a_cancelled_leader_hands_over() -> None:
    """One request that a user aborts would abort all that wait for the same token."""
    arrived, go = threading.Event(), threading.Event()

    def answer(n: int) -> Reply:
        arrived.set()
        go.wait(30)
        return token(n)

    with counting_issuer(answer) as issuer:
        auth = credentials(issuer)
        leader = asyncio.create_task(auth.atoken())
        await asyncio.to_thread(arrived.wait, 30)
        waiter = asyncio.create_task(auth.atoken())
        await asyncio.sleep(0)
        leader.cancel()
        go.set()
        assert (await waiter).value == "token-2"
        assert (await auth.atoken()).value == "token-2"


async def test_a_cancelled_waiter_is_alone() -> None:
    """The cancelling of one waiter would reach the leader, and through it everyone."""
    arrived, go = threading.Event(), threading.Event()

    def answer(n: int) -> Reply:
        arrived.set()
        go.wait(30)
        return token(n)

    with counting_issuer(answer) as issuer:
        auth = credentials(issuer)
        leader = asyncio.create_task(auth.atoken())
        await asyncio.to_thread(arrived.wait, 30)
        waiter = asyncio.create_task(auth.atoken())
        await asyncio.sleep(0)
        waiter.cancel()
        go.set()
        assert (await leader).value == "token-1"


async def test_a_blocking_call_inside_the_leaders_loop_does_not_hang() -> None:
    """`token()` called from a coroutine would wait for a task that it keeps from running."""
    with counting_issuer() as issuer:
        auth = credentials(issuer)
        leader = asyncio.create_task(auth.atoken())
        await asyncio.sleep(0)
        assert auth.token().value.startswith("token-")
        assert (await leader).value.startswith("token-")


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-012 a loop that stopped")])
def test_a_loop_that_stopped(_: int) -> None:
    """A token that a stopped loop was to bring would be waited for until the program is killed."""
    with counting_issuer() as issuer:
        auth = credentials(issuer)
        loop = asyncio.new_event_loop()
        task = loop.create_task(auth.atoken())
        loop.call_soon(loop.stop)
        loop.run_forever()  # one turn: the task has begun its request, and nobody will go on with it
        assert not task.done()
        assert auth.token().value.startswith("token-")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-012 fork after use")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_after_use(_: int) -> None:
    """A child that shared its parent's socket would read the other's answer; one that shared a lock would hang."""
    clock = [1_000_000.0]
    with counting_issuer() as issuer:
        auth = credentials(issuer, network=Network(clock=Clock(now=lambda: clock[0])))
        auth.token()
        descriptors = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
        clock[0] += 1000
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writing, auth.token().value.encode())
            os._exit(0)
        own = auth.token().value
        os.close(writing)
        with os.fdopen(reading) as pipe:
            theirs = pipe.read()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert {own, theirs} == {"token-2", "token-3"}
        assert not any(
            os.readlink(f"/proc/self/fd/{fd}").startswith("socket:[") and fd not in descriptors
            for fd in os.listdir("/proc/self/fd")
            if os.path.islink(f"/proc/self/fd/{fd}")
        ), "a socket to the issuer was kept"


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-001 over a real server")])
def test_cached_over_a_real_server(tmp_path: Path, _: int) -> None:
    """1000 short-lived users of one cache folder would be 1000 requests."""
    with counting_issuer() as issuer:
        for _call in range(1000):
            assert credentials(issuer, cache=DiskCache(tmp_path / "cache")).token().value == "token-1"
        assert len(issuer.asked) == 1


def test_an_outage_is_shared_by_processes(tmp_path: Path) -> None:
    """A hundred jobs that wait for one another's time-outs would take a hundred times as long to fail."""
    with counting_issuer(lambda _n: Reply(503)) as issuer:
        cache = DiskCache(tmp_path / "cache")
        waits: list[float] = []
        auth = credentials(
            issuer, cache=cache, network=Network(tries=1, clock=Clock(now=lambda: 1_000_000.0, sleep=waits.append))
        )
        with pytest.raises(TokenUnavailable):
            auth.token()
        other = credentials(
            issuer, cache=cache, network=Network(tries=1, clock=Clock(now=lambda: 1_000_000.0))
        )  # began in the same instant
        with pytest.raises(TokenUnavailable, match="503"):
            other.token()
        later = credentials(issuer, cache=cache, network=Network(tries=1, clock=Clock(now=lambda: 1_000_001.0)))
        with pytest.raises(TokenUnavailable):
            later.token()
        assert len(issuer.asked) == 2
