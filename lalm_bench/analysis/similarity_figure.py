"""The figure of `similarity`: one row a run, one mark a measure, and the floors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lalm_bench.analysis import canvas, findings, texts
from lalm_bench.report.figures import GREY
from lalm_bench.report.plots import COLOURS, MARKS

if TYPE_CHECKING:
    from lalm_bench.analysis.similarity import Alike

_MOST_ROWS = 30


def draw(stem: Path, title: str, found: Sequence[Alike]) -> list[Path]:
    """Write `<stem>.png` and `<stem>.svg`.

    Parameters
    ----------
    stem : Path
    title : str
    found : sequence of Alike
        At most thirty are drawn, from the top.
    """
    shown = [*found][:_MOST_ROWS]
    measures = [m for m, v in shown[0].values.items() if not np.isnan(v).all()][: len(COLOURS)]
    height = 0.7 / len(measures)
    figure = canvas.figure(7.2, 1.4 + len(shown) * (0.22 + 0.13 * len(measures)))
    axes = figure.subplots()
    marks: list[tuple[float, float]] = []
    for number, measure in enumerate(measures):
        offset = (number - (len(measures) - 1) / 2) * height
        estimates = [one.mean(one.values[measure]) for one in shown]
        places = [-row - offset for row in range(len(shown))]
        for place, estimate in zip(places, estimates, strict=True):
            low, high = findings.interval(estimate, texts.bounds(measure))
            if low is not None and high is not None:
                axes.hlines(place, low, high, color=COLOURS[number], lw=1.4, alpha=0.6)
        known = [
            (e.value, p) for e, p in zip(estimates, places, strict=True) if e.value is not None
        ]
        axes.plot(
            [value for value, _ in known],
            [place for _, place in known],
            MARKS[number],
            color=COLOURS[number],
            ms=5,
            label=measure,
        )
        floors = [
            (one.mean(one.floors[measure]).value, place)
            for one, place in zip(shown, places, strict=True)
            if measure in one.floors
        ]
        marks += [(value, place) for value, place in floors if value is not None]
    xs, ys = [x for x, _ in marks], [y for _, y in marks]
    axes.plot(xs, ys, "|", color=GREY, ms=9, mew=1.6, label="floor: another clip's answer")
    axes.set_yticks([-row for row in range(len(shown))], [one.name for one in shown])
    axes.set_ylim(-len(shown) + 0.5, 0.5)
    for row in range(1, len(shown)):
        axes.axhline(-row + 0.5, color="#d0d0d0", lw=0.7, zorder=0)
    axes.set_xlim(min(-0.02, axes.get_xlim()[0]), 1.02)
    axes.set_xlabel("similarity with the answer on the original audio, 95 % interval")
    canvas.plain(axes, title)
    return canvas.save(figure, stem)
