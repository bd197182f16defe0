"""Curves as figures: what is left of the score, and of the answers, at each level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench.compare.curves import Curve
from lalm_bench.compare.family import Family
from lalm_bench.report.figures import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, the rest of them.
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_AXES = {
    "intervention.snr_db": "SNR, dB",
    "intervention.ratio": "masked share",
    "intervention.level": "level",
    "pruning.ratio": "share of the audio tokens that is dropped",
}


def draw(folder: Path, families: Sequence[Family]) -> list[Path]:
    """One figure for each swept setting of a task, one line for each group; PNG and SVG.

    At most six lines a figure; further groups get further figures.
    """
    swept: dict[tuple[str, str, str], list[tuple[Family, Curve]]] = {}
    for family in families:
        for curve in family.curves:
            task = str(family.baseline.config["task"]["name"])
            swept.setdefault((task, curve.name, curve.setting), []).append((family, curve))
    files: list[Path] = []
    for (task, name, setting), lines in swept.items():
        for start in range(0, len(lines), len(COLOURS)):
            number = f"_{start // len(COLOURS) + 1}" if len(lines) > len(COLOURS) else ""
            stem = f"curve_{task}_{name}_{setting.partition('.')[2]}{number}"
            safe = "".join(c if c.isalnum() or c in "_-" else "_" for c in stem)
            chosen = lines[start : start + len(COLOURS)]
            files += _figure(folder / safe, task, name, setting, chosen)
    return files


def _figure(
    stem: Path, task: str, name: str, setting: str, lines: Sequence[tuple[Family, Curve]]
) -> list[Path]:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    agree = all(curve.area_consistency is not None for _, curve in lines)
    figure = Figure(figsize=(8.6 if agree else 5.0, 3.6), layout="constrained")
    panels = figure.subplots(1, 2 if agree else 1, squeeze=False)[0]
    for (family, curve), colour in zip(lines, COLOURS, strict=False):
        label = _group(family) if len(lines) > 1 else None
        _line(panels[0], curve, "value", colour, label or family.measure.name)
        if family.value is not None:
            panels[0].axhline(family.value, color=colour, lw=1, ls="--")
        if agree:
            _line(panels[1], curve, "consistency", colour, label)
    chances = {family.chance for family, _ in lines if family.chance is not None}
    for chance in sorted(chances):
        panels[0].axhline(chance, color=GREY, lw=1, ls=":")
    _legend_lines(panels[0], bool(chances))
    fractions = lines[0][0].measure.right_or_wrong
    panels[0].set_ylabel(lines[0][0].measure.name)
    if agree:
        panels[1].set_ylabel("same answer as the baseline")
        panels[1].set_ylim(-0.02, 1.02)
    if fractions:
        panels[0].set_ylim(-0.02, 1.02)
    for panel in panels:
        panel.set_xlabel(_AXES.get(setting, setting.rpartition(".")[2]))
        panel.spines[["top", "right"]].set_visible(False)
    title = lines[0][0].title if len(lines) == 1 else task
    figure.suptitle(f"{title} · {name}", fontsize=10, x=0.01, ha="left")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    files = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    figure.savefig(files[0], dpi=150, metadata={"Software": None})
    figure.savefig(files[1], metadata={"Date": None, "Creator": None})
    return files


def _line(axes: Axes, curve: Curve, what: str, colour: str, label: str | None) -> None:
    ends = ("low", "high") if what == "value" else ("consistency_low", "consistency_high")
    x: list[float] = [point["level"] for point in curve.points]
    y = [point[what] for point in curve.points]
    # No interval where nothing changed: the band closes there.
    low, high = ([_or(point.get(end), point[what]) for point in curve.points] for end in ends)
    shown = label if what == "value" else None
    axes.plot(x, y, "-o", color=colour, ms=4, lw=1.6, label=shown)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)


def _or(value: Any, otherwise: float) -> float:
    return otherwise if value is None else float(value)


def _legend_lines(axes: Axes, chance: bool) -> None:
    """Entries without data, so that each kind of line is named once."""
    axes.plot([], [], "--", color="black", lw=1, label="baseline")
    if chance:
        axes.plot([], [], ":", color=GREY, lw=1, label="chance")
    axes.fill_between([], [], [], color="black", alpha=0.2, lw=0, label="95 % paired interval")


def _group(family: Family) -> str:
    """What sets a line apart: the model, and how it was asked."""
    config = family.baseline.config
    protocol = config["task"].get("protocol")
    asked = protocol.get("name") if isinstance(protocol, dict) else None
    return " · ".join(str(w) for w in (config["model"]["name"], asked) if w)
