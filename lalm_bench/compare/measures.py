"""What is compared: a mean of per-item values, or a statistic of sums (an F1, a pooled rate)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lalm_bench.compare.loaded import Run, Table
from lalm_bench.errors import DataError
from lalm_bench.store import read_json

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Measure:
    """One number of a run.

    Parameters
    ----------
    name : str
        As in `metrics.json`.
    columns : tuple of str
        Per-item values that it is made of.
    classes : tuple of str
        Labels that a macro-F1 averages over.
    """

    name: str
    columns: tuple[str, ...]
    classes: tuple[str, ...] = ()

    @property
    def right_or_wrong(self) -> bool:
        """Whether an item is right or wrong, so that flips can be counted."""
        return self.columns[0] == "correct" or self.columns[0].startswith("correct[")

    @property
    def statistic(self) -> Statistic | None:
        """Sums of shape (..., parts) -> value; None for a mean of per-item values."""
        if self.classes:
            from lalm_bench.metrics.classification import macro_f1

            size = len(self.classes)
            return lambda sums: macro_f1(sums.reshape(*sums.shape[:-1], size, size + 1))
        return _ratio if len(self.columns) == 2 else None

    def parts(self, table: Table) -> np.ndarray:
        """What each decision adds, shape (decisions, parts); NaN where a value is missing."""
        if self.classes:
            return self._cells(table)
        columns = [table.columns[name] for name in self.columns]
        return np.array(
            [[np.nan if v is None else v for v in column] for column in columns], dtype=float
        ).T

    def _cells(self, table: Table) -> np.ndarray:
        places = {label: place for place, label in enumerate(self.classes)}
        size = len(self.classes)
        rows = [places[target] for target in table.columns["target"]]
        given = [places.get(label, size) for label in table.columns["label"]]
        counts = np.zeros((len(rows), size * (size + 1)))
        counts[np.arange(len(rows)), np.array(rows) * (size + 1) + np.array(given)] = 1
        return counts


def choose(name: str | None, baseline: Run) -> Measure:
    """The measure called `name`, or the first of the task's headline that pairs.

    Raises
    ------
    DataError
        The decisions do not hold what it takes; says which measures they do hold.
    """
    known = _known(baseline)
    wanted = [name] if name else list(baseline.headline)[:1]
    for one in wanted:
        if one in known:
            return known[one]
    raise DataError(
        f"{wanted[0]} cannot be paired: the decisions of {baseline.folder} hold no per-item part "
        f"of it; choose --metric from {', '.join(known)}"
    )


def _known(run: Run) -> dict[str, Measure]:
    """Measures that a run's decisions allow, by name."""
    row = run.first_row
    found: dict[str, Measure] = {}
    for column, value in row.items():
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if column == "correct" or column.startswith("correct["):
            found["accuracy" + column.removeprefix("correct")] = _mean_of(column)
        elif numeric and column not in _NO_VALUES:
            found[column] = _mean_of(column)
    if "iou" in row:
        found["miou"] = Measure("miou", ("iou",))
    if {"errors", "words"} <= row.keys():
        found["wer"] = Measure("wer", ("errors", "words"))
    if "macro_f1" in run.headline:
        analysis = read_json(run.folder / "analysis.json") or {}
        classes = tuple(str(c["class"]) for c in analysis.get("classes", ()))
        if classes:
            found["macro_f1"] = Measure("macro_f1", ("label", "target"), classes)
    return found


# Numbers that say where an item stands rather than how well it was answered.
_NO_VALUES = frozenset({"n_options", "position", "target_position", "instruction", "truncated_s"})


def _mean_of(column: str) -> Measure:
    named = "accuracy" + column.removeprefix("correct") if column.startswith("correct") else column
    return Measure(named, (column,))


def _ratio(sums: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.full(sums.shape[:-1], np.nan)
    np.divide(sums[..., 0], sums[..., 1], out=shares, where=sums[..., 1] > 0)
    return shares
