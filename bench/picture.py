"""The storm as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .crowd import Second

BLUE, ORANGE, GREY, RED = "#2166ac", "#ef8a62", "#555555", "#b2182b"


def draw(seconds: Sequence[Second], count: int, within: float, lasted: float, file: Path) -> None:
    """Two panels over one time: what became of the tries, and how long a token took."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    time = [second + 0.5 for second in range(len(seconds))]
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(9.2, 5.4), height_ratios=(3, 2))
    served, refused = [each.served for each in seconds], [each.refused for each in seconds]
    above.bar(time, served, width=0.9, color=BLUE, label="token issued")
    above.bar(time, refused, width=0.9, bottom=served, color=ORANGE, label="503: come again later")
    if any(each.failed for each in seconds):
        bottom = [a + b for a, b in zip(served, refused, strict=True)]
        above.bar(time, [each.failed for each in seconds], 0.9, bottom, color=RED, label="no answer")
    above.step([*range(len(seconds) + 1)], [each.came for each in seconds] + [0], where="post", color=GREY, lw=1,
               label="tries begun")  # fmt: skip
    above.axvline(within, color=GREY, lw=0.8, ls=":")
    above.annotate("the last device has arrived", (within, above.get_ylim()[1]), xytext=(4, -4), va="top",
                   textcoords="offset points", color=GREY, fontsize=8)  # fmt: skip
    above.set_ylabel("a second")
    above.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    above.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    lost = count - sum(served)
    above.set_title(f"{count:,} devices come back within {within:.0f} s; after {lasted:.0f} s "
                    + (f"{lost:,} have no token" if lost else "each has its token, none is lost"),
                    loc="left", fontsize=11)  # fmt: skip
    for part, color, style, name in ((0.99, BLUE, "-", "99 of 100"), (0.5, BLUE, "--", "half")):
        below.plot(time, [_part(each.latencies, part) for each in seconds], style, color=color, lw=1.4, label=name)
    below.axhline(0.5, color=GREY, lw=0.8, ls=":")
    below.annotate("the half second that the door aims at", (0, 0.5), xytext=(2, -10), textcoords="offset points",
                   color=GREY, fontsize=8)  # fmt: skip
    below.set_yscale("log")
    for axis in (below.yaxis.set_major_formatter, below.yaxis.set_minor_formatter):
        axis(lambda value, _: f"{value:.2g}")
    below.set_ylabel("seconds to the token")
    below.set_xlabel("seconds since the power came back")
    below.legend(frameon=False, title="of those let in", loc="upper left", bbox_to_anchor=(1, 1))
    below.set_xlim(0, len(seconds))
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def _part(latencies: list[float], part: float) -> float:
    ordered = sorted(latencies)
    return ordered[int(part * len(ordered))] if len(ordered) >= 20 else float("nan")
