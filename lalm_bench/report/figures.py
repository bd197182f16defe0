"""Figures of one run, in the house style, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours: distinguishable with every common form of colour blindness.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
_MOST_ROWS = 30
_MOST_LABELS = 12


def draw(
    folder: Path, title: str, analysis: Mapping[str, Json], groups: tuple[str, ...]
) -> list[Path]:
    """Write `figures/accuracy_by_<group>` and `figures/confusion`; return the files."""
    folder.mkdir(exist_ok=True)
    files: list[Path] = []
    for group in groups:
        rows = [r for r in _rows(analysis.get(f"by_{group}")) if r["n"]]
        if rows:
            files += _save(_bars(rows[:_MOST_ROWS], group, title), folder / f"accuracy_by_{group}")
    confusion = analysis.get("confusion")
    if isinstance(confusion, dict) and 1 < len(confusion["labels"]) <= _MOST_LABELS:
        files += _save(_matrix(confusion, title), folder / "confusion")
    return files


def _rows(value: Json) -> list[dict[str, Any]]:
    return [r for r in value if isinstance(r, dict)] if isinstance(value, list) else []


def _figure(width: float, height: float) -> Figure:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _bars(rows: list[dict[str, Any]], group: str, title: str) -> Figure:
    figure = _figure(6.4, 1.2 + 0.36 * len(rows))
    axes = figure.subplots()
    places = list(range(len(rows)))[::-1]
    values = [r["accuracy"] for r in rows]
    below = [r["accuracy"] - r["low"] for r in rows]
    above = [r["high"] - r["accuracy"] for r in rows]
    axes.barh(places, values, height=0.62, color=BLUE, label="accuracy, 95 % Wilson")
    axes.errorbar(
        values, places, xerr=[below, above], fmt="none", ecolor="black", elinewidth=1, capsize=2
    )
    chances = [r["chance"] for r in rows]
    constants = [r["best_constant_answer"] for r in rows]
    axes.plot(chances, places, "|", color=ORANGE, ms=14, mew=2.2, label="chance")
    axes.plot(constants, places, "o", color="white", mec=GREY, ms=5, label="best constant answer")
    axes.set_yticks(places, [f"{r['value']}  (n={r['n']})" for r in rows])
    axes.set_xlim(0, 1)
    axes.set_xlabel("accuracy")
    axes.set_title(f"{title}: by {group}", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _matrix(confusion: dict[str, Any], title: str) -> Figure:
    labels, counts = confusion["labels"], confusion["counts"]
    size = 2.2 + 0.45 * len(labels)
    figure = _figure(size + 0.6, size)
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues", vmin=0)
    most = max(max(row) for row in counts) or 1
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            colour = "white" if count > 0.6 * most else "black"
            axes.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("given")
    axes.set_ylabel("answer")
    axes.set_title(f"{title}: labels", fontsize=10, loc="left")
    return figure


def _save(figure: Figure, stem: Path) -> list[Path]:
    files = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    figure.savefig(files[0], dpi=150, metadata={"Software": None})
    figure.savefig(files[1], metadata={"Date": None, "Creator": None})
    return files
