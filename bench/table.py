"""Rows of the table: what was measured, its median and spread, and the bar that it has to reach."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`bar`: the least, or with `most` the greatest, that is good enough."""

    name: str
    figures: list[float]
    unit: str = "/s"
    bar: float | None = None
    most: bool = False

    @property
    def median(self) -> float:
        """Of the figures."""
        return statistics.median(self.figures)

    def met(self) -> str:
        """In a word."""
        if self.bar is None:
            return ""
        good = self.median <= self.bar if self.most else self.median >= self.bar
        return f"{'at most ' if self.most else ''}{_number(self.bar)}{self.unit.strip('/s') and self.unit}: " + (
            "met" if good else "**missed**"
        )

    def line(self) -> str:
        """Markdown."""
        spread = f"{_number(min(self.figures))} to {_number(max(self.figures))}" if len(self.figures) > 1 else ""
        return f"| {self.name} | {_number(self.median)}{self.unit} | {spread} | {self.met()} |"


def heading(title: str) -> None:
    """A table begins."""
    _say(f"\n### {title}\n\n| what | median | spread | bar |\n|---|---|---|---|")


def show(*rows: Row) -> None:
    """Print them."""
    for row in rows:
        _say(row.line())


def ratio(name: str, figures: list[float], of: list[float], bar: float | None = None, *, most: bool = False) -> Row:
    """Round by round, so that a slow minute of the machine is in both."""
    return Row(name, [mine / theirs for mine, theirs in zip(figures, of, strict=True)], "", bar, most)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
