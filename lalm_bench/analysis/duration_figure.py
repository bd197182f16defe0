"""The figure of `duration`: score, time and memory against the length of the audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench.analysis import canvas, findings
from lalm_bench.report.figures import GREY
from lalm_bench.report.plots import COLOURS, MARKS

if TYPE_CHECKING:
    from lalm_bench.analysis.duration import Bucket, Timed

MOST_RUNS = len(COLOURS)


def draw(stem: Path, names: Sequence[str], timed: Sequence[Timed]) -> list[Path]:
    """Write `<stem>.png` and `<stem>.svg`; at most six runs are drawn.

    Parameters
    ----------
    stem : Path
    names : sequence of str
        All buckets, shortest first; those without an item in any run are left out.
    timed : sequence of Timed
    """
    shown = [*timed][:MOST_RUNS]
    held = {b.name for one in shown for b in one.buckets}
    used = [name for name in names if name in held]
    figure = canvas.figure(11.0, 3.9)
    measures = {b.measure for one in shown for b in one.buckets}
    peaked = any(b.peak_mib is not None for one in shown for b in one.buckets)
    panels: list[tuple[str, Callable[[Bucket], Any], Callable[[Bucket], Any]]] = [
        (
            f"{measures.pop() if len(measures) == 1 else 'score'}, 95 % interval",
            lambda b: b.score.value,
            lambda b: findings.interval(b.score, b.bounds),
        ),
        (
            "model time an answer, s (mean, 95 % interval)",
            lambda b: b.total.value,
            lambda b: findings.interval(b.total, (0.0, np.inf)),
        ),
        (
            "peak GPU memory, MiB" if peaked else "KV cache of an answer, MiB (mean)",
            (lambda b: b.peak_mib) if peaked else (lambda b: b.kv_mib),
            lambda b: (None, None),
        ),
    ]
    shares = all(b.bounds == (0.0, 1.0) for one in shown for b in one.buckets)
    for place, (axes, panel) in enumerate(zip(figure.subplots(1, 3), panels, strict=True)):
        label, value, ends = panel
        _panel(axes, used, shown, value, ends)
        if shares and not place:
            axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel(label, fontsize=9)
        axes.set_xlabel("length of the audio", fontsize=9)
        canvas.plain(axes, "")
    return canvas.save(figure, stem)


def _panel(
    axes: Any,
    used: Sequence[str],
    shown: Sequence[Timed],
    value: Callable[[Bucket], Any],
    ends: Callable[[Bucket], Any],
) -> None:
    drawn = False
    for number, one in enumerate(shown):
        offset = (number - (len(shown) - 1) / 2) * 0.09
        points = [(used.index(b.name) + offset, b) for b in one.buckets if value(b) is not None]
        for x, b in points:
            if None not in (between := ends(b)):
                axes.vlines(x, *between, color=COLOURS[number], lw=1.2, alpha=0.6)
        axes.plot(
            [x for x, _ in points],
            [value(b) for _, b in points],
            f"{MARKS[number]}-",
            color=COLOURS[number],
            ms=5,
            lw=1,
            label=one.name,
        )
        drawn = drawn or bool(points)
    axes.set_xticks(range(len(used)), used, rotation=30, ha="right", fontsize=canvas.SMALL)
    axes.set_xlim(-0.5, len(used) - 0.5)
    if not drawn:
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "not noted", transform=axes.transAxes, ha="center", va="center", color=GREY
        )
