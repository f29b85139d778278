"""RAC-011 in short; the long version is a command (CONTRIBUTING.md)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.history import NEVER, Event, violations
from tests.chaos.linearizable import NOTICED, VISIBLE, run

OPERATIONS, EVERY = 600, 200


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_what_two_killed_nodes_told_eight_callers(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """RAC-011: what was acknowledged at one node would not hold at the other, or not after a crash."""
    url = request.getfixturevalue("migrated_postgres_dsn") if database == "postgres" else ""
    found = asyncio.run(run(tmp_path, url, lambda asked: asked >= OPERATIONS, EVERY, seed=11))
    assert found.kills
    said = {(event.what, event.yes) for event in found.history}
    assert said >= {("issue", True), ("issue", False), ("introspect", True), ("introspect", False), ("rotate", True)}
    assert said >= {("read", True), ("read", False), ("delete", True), ("revoke", True)}
    broken = violations(found.history, VISIBLE, NOTICED)
    assert not broken, "\n".join(broken)


def event(what: Any, begin: float, end: float | None = None, **more: Any) -> Event:
    """Of one application; it takes a second."""
    return Event(what, "c", begin, begin + 1 if end is None else end, **more)


BORN = event("create", 0, secret="s0")
GIVEN = event("issue", 2, secret="s0", token="t")
TURNED = event("rotate", 10, secret="s1")
GONE = event("delete", 10)


@pytest.mark.parametrize(
    ("history", "word"),
    [
        ([BORN, GONE, event("read", 12)], "read after"),
        ([BORN, GONE, event("rotate", 12, secret="s1")], "rotated after"),
        ([BORN, event("read", 2, yes=False)], "nobody deleted"),
        ([BORN, event("delete", 10, yes=False), event("read", 12, yes=False)], "nobody deleted"),
        ([BORN, GONE, event("issue", 12, secret="s0")], "had ended"),
        ([BORN, TURNED, event("issue", 12, secret="s0")], "had ended"),
        ([BORN, event("issue", 30, secret="s0", yes=False)], "nothing had ended"),
        ([BORN, TURNED, event("issue", 30, secret="s1", yes=False)], "nothing had ended"),
        ([BORN, event("rotate", 10, NEVER), event("issue", 30, secret="s0", yes=False), event("issue", 40, secret="s0")],
         "refused before"),
        ([BORN, GIVEN, GONE, event("introspect", 13, token="t")], "active after"),
        ([BORN, GIVEN, event("revoke", 10, token="t"), event("introspect", 13, token="t")], "active after"),
        ([BORN, GIVEN, event("introspect", 4, token="t", yes=False)], "nothing had ended"),
        ([BORN, GIVEN, event("revoke", 10, NEVER, token="t"), event("introspect", 12, token="t", yes=False),
          event("introspect", 20, token="t")], "active again"),
    ],
)  # fmt: skip
def test_the_checker_sees_what_cannot_be(history: list[Event], word: str) -> None:
    """A checker that finds nothing would call every history right."""
    (found,) = violations(history, 1.0, 5.0)
    assert word in found


@pytest.mark.parametrize(
    "history",
    [
        [BORN, GIVEN, GONE, event("issue", 10.5, secret="s0"), event("read", 10.5, yes=False)],
        [BORN, event("rotate", 10, NEVER), event("issue", 30, secret="s0", yes=False)],
        [BORN, event("rotate", 10, NEVER), event("issue", 30, secret="s0")],
        [BORN, event("issue", 2, secret="s0", yes=False)],
        [BORN, TURNED, event("rotate", 10, secret="s2"), event("issue", 12, secret="s1"), event("issue", 20, secret="s2", yes=False)],
        [BORN, GIVEN, event("revoke", 10, token="t"), event("introspect", 11.5, token="t")],
        [BORN, GIVEN, event("revoke", 10, token="t", yes=False), event("introspect", 20, token="t")],
        [BORN, event("delete", 10, NEVER), event("read", 30, yes=False), event("delete", 40, yes=False)],
    ],
)  # fmt: skip
def test_the_checker_lets_pass_what_can_be(history: list[Event]) -> None:
    """A checker that calls races wrong is switched off."""
    assert violations(history, 1.0, 5.0) == []
