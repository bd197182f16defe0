"""The tables of a study: one section a cell, one row a part of the data set.

The columns are those of the audio faithfulness study: items, remaining nulls, accuracy, missed
reasoning, and the change against the unchanged run of the same protocol, in points.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lalm_bench import runs
from lalm_bench.compare.groups import Report
from lalm_bench.compare.pairs import Result
from lalm_bench.store import read_json

ALL = "all"
_COLUMNS = ("", "items", "nulls", "accuracy", "missed reasoning", "change, points", "95 %", "p")


def rows(folder: Path, group: str | None, result: Result | None) -> list[dict[str, Any]]:
    """One row a value of `group`, and one over all.

    Parameters
    ----------
    folder : Path
        A finished run.
    group : str or None
        Key of its decisions.
    result : Result or None
        The run paired with its baseline; None for a baseline, which has no change.

    Returns
    -------
    list of dict
        `part`, `items`, `nulls`, `accuracy` in [0, 1] (None where nothing is right or wrong),
        `missed` (None where nobody was asked to reason) and `delta`, `low`, `high` (shares, None
        without a baseline), `p`.
    """
    parts: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in runs.decisions(folder):
        parts[ALL].append(row)
        if group is not None and row.get(group) is not None:
            parts[str(row[group])].append(row)
    changes = _changes(group, result)
    names = [*sorted(name for name in parts if name != ALL), ALL]
    if len(names) == 2:  # a group of one value says the same twice
        names = [ALL]
    return [_row(name, parts[name], changes.get(name, {})) for name in names if parts[name]]


def markdown(
    title: str, cells: Sequence[tuple[str, Path | None, str | None]], report: Report
) -> str:
    """All sections as Markdown.

    Parameters
    ----------
    title : str
    cells : sequence of (name, folder, error)
        In the study's order; `folder` is None where a cell has no result.
    report : Report
        The cells, paired with their baselines.
    """
    paired = {c.run.folder.absolute(): c.result for f in report.families for c in f.cells}
    text = [f"# {title}\n"]
    for name, folder, error in cells:
        text.append(f"\n## {name}\n")
        if folder is None:
            text.append(f"No result: {error}\n")
            continue
        found = rows(folder, _group(folder), paired.get(folder.absolute()))
        text += ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
        text += ["| " + " | ".join(_shown(row)) + " |" for row in found]
        text.append("")
    text.append(
        "\nNulls are wrong in the accuracy. Changes are paired, item by item, with the unchanged "
        "run of the same protocol; intervals allow for questions that share a clip."
    )
    return "\n".join(text) + "\n"


def _group(folder: Path) -> str | None:
    """The first group of the run's task."""
    state = read_json(folder / "run.json") or {}
    groups = state.get("config", {}).get("task", {}).get("groups") or []
    return str(groups[0]) if groups else None


def _changes(group: str | None, result: Result | None) -> dict[str, Mapping[str, Any]]:
    if result is None:
        return {}
    found: dict[str, Mapping[str, Any]] = {
        ALL: {"delta": result.delta, "low": result.low, "high": result.high, "p": result.p}
    }
    for row in result.groups.get(group or "", ()):
        found[row["value"]] = row
    return found


def _row(name: str, part: Sequence[Mapping[str, Any]], change: Mapping[str, Any]) -> dict[str, Any]:
    items: defaultdict[str, list[float]] = defaultdict(list)
    for row in part:
        items[row["id"]] += [row["correct"]] if "correct" in row else []
    means = [sum(values) / len(values) if values else None for values in items.values()]
    missed = [row["missed_reasoning"] for row in part if row.get("missed_reasoning") is not None]
    return {
        "part": name,
        "items": len(items),
        "nulls": sum(row["label"] is None for row in part),
        "accuracy": None if None in means else sum(m for m in means if m) / len(means),
        "missed": int(sum(missed)) if missed else None,
        **{key: change.get(key) for key in ("delta", "low", "high", "p")},
    }


def _shown(row: Mapping[str, Any]) -> list[str]:
    delta, low, high, p = (row[key] for key in ("delta", "low", "high", "p"))
    return [
        row["part"],
        str(row["items"]),
        str(row["nulls"]),
        "-" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f} %",
        "-" if row["missed"] is None else str(row["missed"]),
        "-" if delta is None else f"{100 * delta:+.1f}",
        "-" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}",
        "-" if p is None else f"{p:.3g}",
    ]
