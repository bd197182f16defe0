"""Score against time: one figure a task, a panel a kind of pruning, a line a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench.compare.figures import COLOURS
from lalm_bench.report.figures import GREY
from lalm_bench.tradeoff import EVICTION, NONE, PREFILL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = "osD^vP"
_TITLES = {PREFILL: "pruned in the prefill", EVICTION: "evicted after it"}
# Measures of which less is better.
_ERRORS = ("wer", "cer")


def draw(folder: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """`tradeoff_<task>.{png,svg}` for every task that was timed; return the files."""
    files: list[Path] = []
    for task in dict.fromkeys(str(row["task"]) for row in rows):
        timed = [
            row
            for row in rows
            if row["task"] == task and row["total_ms"] is not None and row["value"] is not None
        ]
        if len(timed) > 1:
            safe = "".join(c if c.isalnum() or c in "_-" else "_" for c in task)
            files += _figure(folder / f"tradeoff_{safe}", f"{task} · {timed[0]['model']}", timed)
    return files


def front(points: Sequence[tuple[float, float]], fewer: bool = False) -> list[tuple[float, float]]:
    """Points (time, score) that no other is both faster and better than, by rising time.

    Parameters
    ----------
    fewer : bool
        A lower score is better.
    """
    found: list[tuple[float, float]] = []
    sign = 1 if fewer else -1
    for time, score in sorted(points, key=lambda p: (p[0], sign * p[1])):
        if not found or sign * score < sign * found[-1][1]:
            found.append((time, score))
    return found


def _figure(stem: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    kinds = [kind for kind in _TITLES if any(row["kind"] == kind for row in rows)]
    methods = list(dict.fromkeys(str(row["method"]) for row in rows if row["kind"] != NONE))
    figure = Figure(figsize=(1.4 + 4.4 * len(kinds), 3.9), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        _panel(axes, kind, [row for row in rows if row["kind"] in (kind, NONE)], methods)
        axes.set_title(_TITLES[kind], fontsize=9, loc="left")
        axes.set_xlabel("encoder, prefill and decoding, ms an item")
        axes.margins(x=0.08)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(str(rows[0]["metric"]))
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    handles: dict[str, Any] = {}
    for axes in panels:
        handles |= {h.get_label(): h for h in axes.get_legend_handles_labels()[0]}
    shared = [label for label in handles if label not in methods]
    figure.legend(
        handles=[handles[label] for label in (*shared, *methods)],
        loc="outside lower center",
        ncols=len(shared) + 1,
        fontsize=8,
        frameon=False,
    )
    files = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    figure.savefig(files[0], dpi=150, metadata={"Software": None})
    figure.savefig(files[1], metadata={"Date": None, "Creator": None})
    return files


def _panel(
    axes: Axes, kind: str, rows: Sequence[Mapping[str, Any]], methods: Sequence[str]
) -> None:
    """Lines by rising ratio; the number at the end of a line is its highest."""
    fewer = str(rows[0]["metric"]).startswith(_ERRORS)
    best = front([(row["total_ms"], row["value"]) for row in rows], fewer)
    axes.step(
        [time for time, _ in best],
        [score for _, score in best],
        where="post",
        color=GREY,
        lw=5,
        alpha=0.25,
        label="no other is faster and better",
    )
    for row in rows:
        if row["kind"] == NONE:
            axes.axhline(row["value"], color="black", lw=0.8, ls="--", zorder=1)
            axes.plot(
                row["total_ms"], row["value"], "*", color="black", ms=12, label="unpruned", zorder=4
            )
    for place, method in enumerate(methods):
        line = sorted(
            (row for row in rows if row["method"] == method and row["kind"] == kind),
            key=lambda row: row["ratio"],
        )
        if not line:
            continue
        colour, mark = COLOURS[place % len(COLOURS)], _MARKS[place // len(COLOURS) % len(_MARKS)]
        x, y = [row["total_ms"] for row in line], [row["value"] for row in line]
        axes.plot(x, y, f"-{mark}", color=colour, ms=4, lw=1.4, label=method, zorder=3)
        ends = [_ends(row) for row in line]
        axes.vlines(
            x, [e[0] for e in ends], [e[1] for e in ends], color=colour, lw=1, alpha=0.5, zorder=2
        )
        axes.annotate(
            f"{line[-1]['ratio']:g}",
            (x[-1], y[-1]),
            xytext=(-5, 5),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            color=colour,
        )
    axes.vlines([], [], [], color="black", lw=1, alpha=0.5, label="95 % paired interval")


def _ends(row: Mapping[str, Any]) -> tuple[float, float]:
    """The baseline's score plus the interval of the difference; a point where there is none."""
    value, delta = row["value"], row["delta"]
    if delta is None or row["low"] is None or row["high"] is None:
        return value, value
    return value - delta + row["low"], value - delta + row["high"]
