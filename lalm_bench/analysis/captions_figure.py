"""The figure of `captions`: predictions over what people reach on the same clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lalm_bench.analysis import canvas
from lalm_bench.analysis.robust import Low
from lalm_bench.report.figures import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from lalm_bench.analysis.captions import Reached

_BINS = 30


def draw(
    stem: Path, title: str, measure: str, one: Reached, below: np.ndarray, gaps: Low
) -> list[Path]:
    """Write `<stem>.png` and `<stem>.svg`: a point a clip, and the gaps with the rule's limit.

    Parameters
    ----------
    stem : Path
    title, measure : str
    one : Reached
    below : array of bool, shape (clips,)
        The outliers.
    gaps : Low
    """
    figure = canvas.figure(8.4, 4.0)
    left, right = figure.subplots(1, 2)
    known = ~np.isnan(one.people)
    usual = known & ~below
    many = usual.sum() > 500
    left.plot(
        one.people[usual],
        one.prediction[usual],
        "o",
        color=BLUE,
        ms=2.5 if many else 4,
        alpha=0.35 if many else 0.8,
        mew=0,
        label="clip",
        rasterized=bool(many),
    )
    left.plot(one.people[below], one.prediction[below], "D", color=ORANGE, ms=5, label="outlier")
    ends = [min(one.people[known].min(), one.prediction.min(), 0.0), 0.0]
    ends[1] = max(one.people[known].max(), one.prediction.max()) * 1.03
    left.plot(ends, ends, "--", color=GREY, lw=1, label="as people do")
    left.set_xlabel(f"people: references among each other, {measure}")
    left.set_ylabel(f"prediction, {measure}")
    counts, edges = np.histogram(one.gap[known], bins=_BINS)
    right.stairs(counts, edges, fill=True, color=BLUE, alpha=0.8)
    right.axvline(gaps.median, color=GREY, lw=1.2, label="median gap")
    if gaps.scale:
        right.axvline(gaps.limit, color=ORANGE, lw=1.4, ls="--", label="outliers lie left of it")
    right.set_xlabel("gap: prediction minus people")
    right.set_ylabel("clips")
    canvas.plain(left, title)
    canvas.plain(right, "")
    return canvas.save(figure, stem, 5)
