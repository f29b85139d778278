"""Which verbs are loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from watchword.cli.main import VERBS, command


def names(of: typer.Typer) -> set[str]:
    """As typed."""
    return {str(one.name) for one in (*of.registered_commands, *of.registered_groups)}


def test_a_verb_loads_what_it_needs() -> None:
    """Each run of a job would pay for the demo, the server and the console."""
    program = (
        "import sys; from watchword.cli.main import command; command('token'); "
        "print(*sys.modules.keys() & {'httpx', 'uvicorn', 'watchword.server', 'watchword.resource'})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


@pytest.mark.parametrize("asked", [(), ("--help",), ("tokn",)])
def test_otherwise_all_are_there(asked: tuple[str, ...]) -> None:
    """The help would not list them, and nobody could say which one was meant."""
    assert names(command(*asked)) == VERBS.keys()
    assert names(command("token")) == {"token"}
