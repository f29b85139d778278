"""How the command line prints text from elsewhere: names, claims, foreign answers."""

from __future__ import annotations

import json

import pytest
import structlog

from watchword.cli import say
from watchword.cli.serving.serve import _quiet_log

HOSTILE = "a\x1b[31m\x9b2J\u202eevil\x00 [bold]b[/bold] \U000e0041"


def test_a_terminal_gets_nothing_to_obey(capsys: pytest.CaptureFixture[str]) -> None:
    """An application's name would clear the screen of an administrator, or turn his text round."""
    say.line(HOSTILE)
    say.heading(HOSTILE)
    say.verbatim(HOSTILE + "\n")
    say.rows([{"name": HOSTILE}], ["name"])
    say.members({"name": HOSTILE}, False)
    say.data({"name": HOSTILE})
    say.json_line(json.dumps({"name": HOSTILE}, ensure_ascii=False).encode())
    shown = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "[bold]b[/bold]" in shown


def test_json_stays_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """A script would read another name than the one that is registered."""
    say.data({"name": HOSTILE, "wide": "ä€😀"})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"name": HOSTILE, "wide": "ä€😀"}
    assert "ä€😀" in shown
    say.json_line(json.dumps({"name": HOSTILE}, ensure_ascii=False).encode())
    assert json.loads(capsys.readouterr().out) == {"name": HOSTILE}


def test_the_server_s_log_is_no_part_of_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that reads the JSON of `init` would find a line of the log before it."""
    try:
        _quiet_log()
        structlog.get_logger("watchword").info("signing what other processes left")
        structlog.get_logger("watchword").warning("the clock is off")
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr()
    assert said.out == ""
    assert "signing" not in said.err
    assert "the clock is off" in said.err
