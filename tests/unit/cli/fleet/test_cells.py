"""Lists of devices in a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.cli.fleet.cells import harmless, original
from watchword.cli.fleet.device_export import _CsvRows

RUN = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "\uff1d1"]


@pytest.mark.parametrize("text", RUN)
def test_a_cell_is_not_run(text: str) -> None:
    """A device would choose what runs on the computer of the one who opens the list."""
    assert harmless(text).startswith("'")
    assert original(harmless(text)) == text


@given(st.text())
def test_what_was_written_is_read(text: str) -> None:
    """An export would be imported with other serial numbers."""
    assert original(harmless(text)) == text


def test_an_export_is_harmless() -> None:
    """The file would be the one place where nobody thought of it."""
    file = io.StringIO()
    rows = _CsvRows(file)
    rows.write({"serial": "=cmd", "name": "@x", "label:place": "-2"}, {})
    rows.finish()
    [_, row] = csv.reader(io.StringIO(file.getvalue()))
    assert {cell for cell in row if cell} == {"'=cmd", "'@x", "'-2"}
