"""An empty figure and its two files, in the house style."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALL = 8


def figure(width: float, height: float) -> Figure:
    """A figure in inches whose SVG does not change from run to run."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain(axes: Any, title: str) -> None:
    """No frame on the right and above; a title at the left."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=10, loc="left")


def save(drawn: Figure, stem: Path, columns: int = 3) -> list[Path]:
    """Add the legend below and write `<stem>.png` and `<stem>.svg`."""
    if any(axes.get_legend_handles_labels()[0] for axes in drawn.axes):
        seen: dict[str, Any] = {}
        for axes in drawn.axes:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                seen.setdefault(label, handle)
        drawn.legend(
            seen.values(),
            seen.keys(),
            loc="outside lower center",
            ncols=columns,
            fontsize=SMALL,
            frameon=False,
        )
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    drawn.savefig(files[0], dpi=150, metadata={"Software": None})
    drawn.savefig(files[1], metadata={"Date": None, "Creator": None})
    return files
