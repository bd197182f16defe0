"""Figures of several runs of a task: by group side by side, and score against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench.report.figures import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKS = "osD^vP"
_MOST_ROWS = 30
# Measures of which less is better.
_ERRORS = ("wer", "cer")


def by_group(
    stem: Path, title: str, group: str, metric: str, runs: Sequence[tuple[str, Sequence[Any]]]
) -> list[Path]:
    """One row a value of the group, one mark a run, with the intervals that the rows hold.

    Parameters
    ----------
    stem : Path
        The files are `<stem>.png` and `<stem>.svg`.
    title, group, metric : str
    runs : sequence of (name, rows)
        At most six are drawn; rows as `by_<group>` of a run's analysis.
    """
    shown = [*runs][: len(COLOURS)]
    names = list(dict.fromkeys(str(r["value"]) for _, rows in shown for r in rows))[:_MOST_ROWS]
    figure = _figure(7.2, 1.4 + len(names) * (0.22 + 0.11 * len(shown)))
    axes = figure.subplots()
    height = 0.7 / len(shown)
    for number, (name, rows) in enumerate(shown):
        found = {str(r["value"]): r for r in rows if r.get(metric) is not None}
        places = [
            (-names.index(v) - (number - (len(shown) - 1) / 2) * height, found[v])
            for v in names
            if v in found
        ]
        low, high = ("low", "high") if metric == "accuracy" else (f"{metric}_low", f"{metric}_high")
        for place, row in places:
            if row.get(low) is not None and row.get(high) is not None:
                axes.hlines(place, row[low], row[high], color=COLOURS[number], lw=1.4, alpha=0.6)
        values = [row[metric] for _, row in places]
        axes.plot(
            values, [p for p, _ in places], MARKS[number], color=COLOURS[number], ms=5, label=name
        )
    chances = {str(r["value"]): r["chance"] for _, rows in shown for r in rows if "chance" in r}
    if metric == "accuracy" and chances:
        at = [(chances[v], -names.index(v)) for v in names if chances.get(v) is not None]
        axes.plot([x for x, _ in at], [y for _, y in at], "|", color=GREY, ms=16, label="chance")
    if metric == "accuracy":
        axes.set_xlim(-0.02, 1.02)
    axes.set_yticks([-i for i in range(len(names))], names)
    axes.set_ylim(-len(names) + 0.5, 0.5)
    for i in range(1, len(names)):
        axes.axhline(-i + 0.5, color="#d0d0d0", lw=0.7, zorder=0)
    axes.set_xlabel(f"{metric}, 95 % interval")
    return _saved(figure, axes, f"{title}: by {group}", stem, min(len(shown) + 1, 3))


def pareto(stem: Path, title: str, metric: str, points: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Score against seconds an answer; the grey line joins what nothing is faster and better than.

    Parameters
    ----------
    points : sequence of mapping
        `name`, `seconds`, `value`, and `low`, `high` where there is an interval.
    """
    from lalm_bench.tradeoff_figure import front

    fewer = metric.startswith(_ERRORS)
    figure = _figure(6.6, 4.0)
    axes = figure.subplots()
    scaled = [{**p, "ms": 1000 * p["seconds"]} for p in points]
    best = front([(p["ms"], p["value"]) for p in scaled], fewer)
    axes.step(
        *([x for x, _ in best], [y for _, y in best]),
        where="post",
        color=GREY,
        lw=5,
        alpha=0.25,
        label="no other is faster and better",
    )
    for number, point in enumerate(scaled):
        colour = COLOURS[number % len(COLOURS)]
        if point.get("low") is not None:
            axes.vlines(point["ms"], point["low"], point["high"], color=colour, lw=1.2, alpha=0.6)
        mark = MARKS[number // len(COLOURS) % len(MARKS)]
        axes.plot(point["ms"], point["value"], mark, color=colour, ms=7, label=point["name"])
    axes.set_xlabel("model time an answer, ms (mean; as noted while answering, in batches)")
    axes.set_ylabel(metric)
    axes.margins(0.1)
    return _saved(figure, axes, title, stem, 2)


def _figure(width: float, height: float) -> Figure:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _saved(figure: Figure, axes: Any, title: str, stem: Path, columns: int) -> list[Path]:
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    figure.savefig(files[0], dpi=150, metadata={"Software": None})
    figure.savefig(files[1], metadata={"Date": None, "Creator": None})
    return files
