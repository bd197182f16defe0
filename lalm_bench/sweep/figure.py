"""A sweep without a baseline as figures: the first headline value over each swept number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lalm_bench.compare.figures import COLOURS

Row = Mapping[str, Any]
Rows = Sequence[Row]
# Other settings -> level -> row.
Lines = Mapping[str, Mapping[float, Row]]
_NO_VALUE = frozenset({"cell", "state", "n", "n_errors", "n_skipped", "chance", "fingerprint"})


def draw(folder: Path, rows: Rows, swept: Sequence[str]) -> list[Path]:
    """One figure for each swept setting that takes two or more numbers; PNG and SVG.

    Parameters
    ----------
    folder : Path
    rows : sequence of mapping
        As in the sweep's table; rows without a value are left out.
    swept : sequence of str
        Names of the settings in which the rows differ.
    """
    metric = next((name for row in rows for name in row if name not in (*_NO_VALUE, *swept)), None)
    if metric is None:
        return []
    files: list[Path] = []
    for setting in swept:
        lines = _lines([row for row in rows if row.get(metric) is not None], setting, swept)
        if any(len(points) > 1 for points in lines.values()):
            safe = "".join(c if c.isalnum() or c in "_-" else "_" for c in setting)
            files += _figure(folder / f"levels_{safe}", lines, setting, metric)
    return files


def _lines(rows: Rows, setting: str, swept: Sequence[str]) -> Lines:
    """Other settings -> level -> row, by rising level."""
    lines: dict[str, dict[float, Row]] = {}
    for row in rows:
        try:
            level = float(str(row.get(setting)))
        except ValueError:
            continue
        rest = " ".join(f"{name}={row[name]}" for name in swept if name != setting and name in row)
        lines.setdefault(rest, {})[level] = row
    return {rest: dict(sorted(points.items())) for rest, points in lines.items()}


def _figure(stem: Path, lines: Lines, setting: str, metric: str) -> list[Path]:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for place, (label, points) in enumerate(lines.items()):
        levels = list(points)
        values = [points[level][metric] for level in levels]
        colour = COLOURS[place % len(COLOURS)]
        style = "-o" if place < len(COLOURS) else "--s"
        axes.plot(levels, values, style, color=colour, ms=4, lw=1.6, label=label or metric)
        low, high = (
            [points[level].get(f"{metric}_{end}", points[level][metric]) for level in levels]
            for end in ("low", "high")
        )
        axes.fill_between(levels, low, high, color=colour, alpha=0.2, lw=0)
    axes.set_xlabel(setting)
    axes.set_ylabel(f"{metric}, 95 % interval")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    files = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    figure.savefig(files[0], dpi=150, metadata={"Software": None})
    figure.savefig(files[1], metadata={"Date": None, "Creator": None})
    return files
