"""Figures of one run, in the house style, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    folder: Path,
    title: str,
    analysis: Mapping[str, Json],
    groups: tuple[str, ...],
    headline: Sequence[str] = (),
) -> list[Path]:
    """Write the figures that the analysis has numbers for; return the files.

    `<value>_by_<group>` shows accuracy or, where a breakdown has none, the first headline value it
    has; `distribution_<value>` shows each of `histograms`; `confusion` shows the labels.
    """
    folder.mkdir(exist_ok=True)
    files: list[Path] = []
    for group in groups:
        rows = [r for r in _rows(analysis.get(f"by_{group}")) if r.get("n") and "value" in r]
        name = next((n for n in ("accuracy", *headline) if any(_number(r, n) for r in rows)), None)
        if name:
            rows = [r for r in rows if _number(r, name)][:_MOST_ROWS]
            files += _save(_bars(rows, name, group, title), folder / _file(f"{name}_by_{group}"))
    histograms = analysis.get("histograms")
    for name, bins in histograms.items() if isinstance(histograms, dict) else ():
        if isinstance(bins, dict):
            files += _save(_histogram(bins, name, title), folder / _file(f"distribution_{name}"))
    confusion = analysis.get("confusion")
    if isinstance(confusion, dict) and 1 < len(confusion["labels"]) <= _MOST_LABELS:
        files += _save(_matrix(confusion, title), folder / "confusion")
    return files


def _number(row: Mapping[str, Any], name: str) -> bool:
    return isinstance(row.get(name), int | float)


def _file(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_-." else "_" for c in name)


def _rows(value: Json) -> list[dict[str, Any]]:
    return [r for r in value if isinstance(r, dict)] if isinstance(value, list) else []


def _figure(width: float, height: float) -> Figure:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _bars(rows: list[dict[str, Any]], name: str, group: str, title: str) -> Figure:
    figure = _figure(6.4, 1.2 + 0.36 * len(rows))
    axes = figure.subplots()
    places = list(range(len(rows)))[::-1]
    values = [r[name] for r in rows]
    # Breakdowns of accuracy call their Wilson interval plainly low and high.
    low, high = ("low", "high") if name == "accuracy" else (f"{name}_low", f"{name}_high")
    bounded = [(p, r) for p, r in zip(places, rows, strict=True) if _number(r, low)]
    kind = ", 95 % Wilson" if name == "accuracy" else ", 95 %" if bounded else ""
    axes.barh(places, values, height=0.62, color=BLUE, label=name + kind)
    if bounded:
        errors = [[r[name] - r[low] for _, r in bounded], [r[high] - r[name] for _, r in bounded]]
        axes.errorbar(
            [r[name] for _, r in bounded],
            [p for p, _ in bounded],
            # An interval from a bootstrap need not hold the value itself.
            xerr=[[max(e, 0.0) for e in side] for side in errors],
            fmt="none",
            ecolor="black",
            elinewidth=1,
            capsize=2,
        )
    if all(_number(r, "chance") and _number(r, "best_constant_answer") for r in rows):
        chances = [r["chance"] for r in rows]
        constants = [r["best_constant_answer"] for r in rows]
        axes.plot(chances, places, "|", color=ORANGE, ms=14, mew=2.2, label="chance")
        axes.plot(
            constants,
            places,
            "o",
            color="white",
            mec=GREY,
            ms=5,
            label="best constant answer",
            clip_on=False,  # it may stand at 1
        )
    axes.set_yticks(places, [f"{r['value']}  (n={r['n']})" for r in rows])
    if name == "accuracy":
        axes.set_xlim(0, 1)
    axes.set_xlabel(name)
    axes.set_title(f"{title}: by {group}", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _histogram(bins: dict[str, Any], name: str, title: str) -> Figure:
    figure = _figure(6.4, 3.2)
    axes = figure.subplots()
    axes.stairs(bins["counts"], bins["edges"], fill=True, color=BLUE)
    axes.set_xlabel(name)
    axes.set_ylabel("items")
    axes.set_title(f"{title}: distribution", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
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
