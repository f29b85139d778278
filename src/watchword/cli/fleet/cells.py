"""Cells of CSV files that a spreadsheet shows and does not run (CWE-1236)."""

from __future__ import annotations

from typing import Final

_RUN: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""A cell that begins with one of these is a formula to some spreadsheet; the last four are their full-width forms."""
_TEXT: Final = "'"
"""Before a cell, it means: this is text."""


def harmless(text: str) -> str:
    """The cell as it is written; `original` reads it back."""
    return _TEXT + text if text.lstrip(_TEXT)[:1] in _RUN and text else text


def original(cell: str) -> str:
    """What was meant by a cell that `harmless`, or a spreadsheet, wrote."""
    return cell[1:] if cell.startswith(_TEXT) and cell.lstrip(_TEXT)[:1] in _RUN else cell
