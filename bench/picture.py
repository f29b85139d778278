"""The storm as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .crowd import PATIENCE, Second

BLUE, ORANGE, GREY, RED = "#2166ac", "#f4a582", "#555555", "#b2182b"


def draw(seconds: Sequence[Second], count: int, within: float, lasted: float, file: Path) -> None:
    """Two panels over one time: what became of the tries, and how long a token took."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(9.2, 5.6), height_ratios=(3, 2))
    _tries(above, seconds)
    _marked(above, within, len(seconds), "every device has come once")
    _waits(below, seconds)
    below.set_xlim(0, len(seconds))
    lost = count - sum(each.served for each in seconds)
    end = f"{lost:,} have no token" if lost else "each has its token and none is lost"
    figure.suptitle(f"{count:,} devices come back at once; after {lasted:.0f} s {end}", x=0.01, ha="left", fontsize=12)
    figure.tight_layout()
    figure.savefig(file, dpi=130)


def _tries(axes: Any, seconds: Sequence[Second]) -> None:
    """How each second's tries ended, on top of each other."""
    time, bottom = [second + 0.5 for second in range(len(seconds))], [0] * len(seconds)
    for name, color, label in (
        ("served", BLUE, "got a token"),
        ("refused", ORANGE, "told when to come again\n(503 or 429, Retry-After)"),
        ("failed", RED, f"no answer in {PATIENCE:.0f} s"),
    ):
        found = [getattr(each, name) for each in seconds]
        if any(found):
            axes.bar(time, found, 0.9, bottom, color=color, label=label)
        bottom = [a + b for a, b in zip(bottom, found, strict=True)]
    edges = [*range(len(seconds) + 1)]
    axes.step(edges, [each.came for each in seconds] + [0], where="post", color=GREY, lw=1, label="tries begun")
    axes.set_ylabel("devices in each second")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _marked(axes: Any, at: float, end: float, text: str) -> None:
    axes.axvline(at, color=GREY, lw=0.8, ls=":")
    side, beside = ("left", 4) if at < end / 2 else ("right", -4)
    axes.annotate(text, (at, axes.get_ylim()[1]), xytext=(beside, 3), ha=side, textcoords="offset points", color=GREY,
                  fontsize=8)  # fmt: skip


def _waits(axes: Any, seconds: Sequence[Second]) -> None:
    """From the beginning of a try to its token, of those that got one."""
    time = [second + 0.5 for second in range(len(seconds))]
    for part, style, name in ((0.99, "-", "99 of 100 waited less"), (0.5, "--", "half of them waited less")):
        axes.plot(time, [_part(each.latencies, part) for each in seconds], style, color=BLUE, lw=1.4, label=name)
    axes.axhline(0.5, color=GREY, lw=0.8, ls=":", label="half a second, which\nthe door aims at")
    axes.set_yscale("log")
    axes.set_ylim(0.005, 15)
    axes.set_yticks([0.01, 0.1, 1, 10], ["10 ms", "100 ms", "1 s", "10 s"])
    axes.minorticks_off()
    axes.set_ylabel("wait for a token")
    axes.set_xlabel("seconds since the power came back")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _part(latencies: list[float], part: float) -> float:
    ordered = sorted(latencies)
    return ordered[int(part * len(ordered))] if len(ordered) >= 20 else float("nan")
