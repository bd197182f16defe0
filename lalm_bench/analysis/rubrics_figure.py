"""The figure of `rubrics clean`: what became of the criteria, and how many an item keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lalm_bench.analysis import canvas
from lalm_bench.report.figures import BLUE, ORANGE

if TYPE_CHECKING:
    from lalm_bench.analysis.rubrics import Cleaned


def draw(stem: Path, counts: Mapping[str, int], cleaned: Cleaned) -> list[Path]:
    """Write `<stem>.png` and `<stem>.svg`.

    Parameters
    ----------
    stem : Path
    counts : mapping
        Reason -> criteria dropped for it.
    cleaned : Cleaned
    """
    from matplotlib.ticker import MaxNLocator

    reasons = [reason for reason, number in counts.items() if number]
    kept = sum(map(len, cleaned.rubrics.values()))
    figure = canvas.figure(8.4, max(2.6, 1.4 + 0.34 * (len(reasons) + 1)))
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    names, numbers = ["kept", *reasons], [kept, *(counts[r] for r in reasons)]
    places = [-place for place in range(len(names))]
    bars = left.barh(places, numbers, height=0.62, color=[BLUE, *[ORANGE] * len(reasons)])
    left.bar_label(bars, padding=3, fontsize=canvas.SMALL)
    left.set_yticks(places, names)
    left.margins(x=0.15)
    left.set_xlabel("criteria")
    sizes = Counter(len(rubric) for rubric in cleaned.rubrics.values())
    sizes[0] = len(cleaned.without)
    low, high = 0, max(sizes)
    right.bar(range(low, high + 1), [sizes[n] for n in range(low, high + 1)], color=BLUE)
    right.set_xticks(range(low, high + 1))
    right.set_xlabel("criteria of an item (0: no rubric)")
    right.set_ylabel("items")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    canvas.plain(left, "Generated criteria")
    canvas.plain(right, "")
    return canvas.save(figure, stem)
