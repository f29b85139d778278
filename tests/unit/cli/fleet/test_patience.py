"""Asking again while nobody answers: bounded, told once, and never for what another try would not change."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, cast

import pytest

from watchword.cli.api_client import AdminClient, Refused
from watchword.cli.fleet.patience import Patience


class Answers:
    """In place of an admin API: each call does the next of these."""

    def __init__(self, *steps: Callable[[], Any]) -> None:
        self.steps = list(steps)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The next step's answer."""
        return self.steps.pop(0)()


def away() -> Any:
    """Nobody is there."""
    raise Refused("cannot reach the server", "is it running?", again=True)


def wrong() -> Any:
    """The request is."""
    raise Refused("the request breaks a rule")


def patience(answers: Any, seconds: float) -> Patience:
    """Over these answers."""
    return Patience(cast(AdminClient, answers), seconds)


def test_an_outage_ends_nothing() -> None:
    """A restart of the server would end an import of hours."""
    answers = Answers(away, lambda: {"rows": []})
    assert patience(answers, 60).ask("POST", "/devices/bulk") == {"rows": []}
    assert answers.steps == []


def test_patience_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """A job would hang for as long as its server is gone, and its scheduler never hear of it."""
    with pytest.raises(Refused, match="cannot reach"):
        patience(Answers(away, lambda: pytest.fail("asked again")), 0).ask("POST", "/devices/bulk")
    assert capsys.readouterr().err == ""


def test_what_is_wrong_is_not_asked_again() -> None:
    """A mistake would be sent for a minute before it is told."""
    with pytest.raises(Refused, match="breaks a rule"):
        patience(Answers(wrong, lambda: pytest.fail("asked again")), 60).ask("POST", "/devices/bulk")


def test_several_on_their_way_tell_one_outage(capsys: pytest.CaptureFixture[str]) -> None:
    """Each batch in flight would print the same error."""
    both = Barrier(2)

    def away_together() -> Any:
        both.wait(30)
        away()

    asked = patience(Answers(away_together, away_together, wrong, wrong), 60)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(asked.ask, "POST", "/devices/import") for _ in range(2)]
        assert all(isinstance(answer.exception(), Refused) for answer in answers)
    assert capsys.readouterr().err.count("asking again") == 1


def test_nobody_waits_for_a_command_that_is_over() -> None:
    """Whoever ends an import would wait a minute for the batches that were on their way."""
    asked = patience(Answers(away, lambda: pytest.fail("asked again")), 60)
    asked.end()
    with pytest.raises(Refused):
        asked.ask("POST", "/devices/import")
