"""F1 over a fixed set of classes, where an answer may be no class at all.

Published long-audio scores drop items whose answer cannot be read, so a model that refuses half the
time loses nothing. Here every item counts: an invalid answer is a class of its own, never right. It
lowers the recall of the class that was asked for and has no F1 to average. The valid-only value
stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench.metrics.bootstrap import cluster_interval
from lalm_bench.types import Json

if TYPE_CHECKING:
    import pandas as pd


def confusion(
    targets: Iterable[Any], predictions: Iterable[Any], classes: Sequence[str]
) -> np.ndarray:
    """Counts of shape (classes, classes + 1): rows are targets, the last column is invalid.

    Parameters
    ----------
    targets : sequence of str, shape (items,)
    predictions : sequence of str or None, shape (items,)
        What is none of `classes` is invalid.
    classes : sequence of str

    Raises
    ------
    ValueError
        A target is none of the classes.

    Examples
    --------
    >>> confusion(["A", "A", "B"], ["A", None, "A"], "AB").tolist()
    [[1, 0, 1], [1, 0, 0]]
    """
    size = len(classes)
    flat = _cells(targets, predictions, classes)
    counts: np.ndarray = np.bincount(flat, minlength=size * (size + 1))
    return counts.reshape(size, size + 1)


def f1_by_class(counts: np.ndarray) -> np.ndarray:
    """F1 of each class: 2 TP / (targets + predictions), 0 where a class occurs in neither.

    Parameters
    ----------
    counts : array, shape (..., classes, classes + 1)
        See `confusion`.

    Returns
    -------
    array, shape (..., classes)
    """
    hits, asked, said = _margins(counts)
    return _ratio(2 * hits, asked + said, 0.0)


def macro_f1(counts: np.ndarray, fixed: bool = True) -> np.ndarray:
    """Mean F1 over the classes.

    Parameters
    ----------
    counts : array, shape (..., classes, classes + 1)
    fixed : bool
        True: over all classes. False: over those that occur as target or prediction, which is what
        scikit-learn does when it is given no labels.

    Returns
    -------
    array, shape (...)
        NaN where there is no class to average.
    """
    scores = f1_by_class(counts)
    if fixed:
        return np.asarray(scores.mean(axis=-1))
    _, asked, said = _margins(counts)
    present = asked + said > 0
    return _ratio((scores * present).sum(axis=-1), present.sum(axis=-1), np.nan)


def weighted_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1, each class weighted by how often it is the target; NaN without items."""
    scores = f1_by_class(counts)
    _, asked, _ = _margins(counts)
    return _ratio((scores * asked).sum(axis=-1), asked.sum(axis=-1), np.nan)


def valid_only(counts: np.ndarray) -> np.ndarray:
    """The same counts without the items whose answer is invalid, as the published scores have it.

    Examples
    --------
    >>> valid_only(np.array([[1, 0, 9], [0, 1, 9]])).tolist()
    [[1, 0, 0], [0, 1, 0]]
    """
    kept = np.array(counts)
    kept[..., -1] = 0
    return kept


def summarise(
    decisions: pd.DataFrame,
    classes: Sequence[str],
    legacy: Sequence[str | None] | None = None,
    *,
    average: str = "macro",
    fixed: bool = False,
) -> tuple[dict[str, float | int | None], dict[str, Json]]:
    """Values and analysis of a classification run.

    Parameters
    ----------
    decisions : DataFrame
        Columns `target`, `label` (None when invalid), `cluster`; at least one row.
    classes : sequence of str
        The fixed label set.
    legacy : sequence of str or None, shape (items,), optional
        Labels that the published extraction reads.
    average, fixed
        How the published script averages (`macro` or `weighted`), and over which classes.

    Returns
    -------
    values : dict
        `macro_f1` with its cluster bootstrap interval, `macro_f1_valid_only`, `weighted_f1`, and
        for the published extraction `f1[legacy]` (valid only, averaged as published),
        `macro_f1_all[legacy]` and `invalid_rate[legacy]`.
    analysis : dict
        `classes`: precision, recall, F1 and counts of each.
    """
    targets, size = decisions["target"], len(classes)
    cells = _cells(targets, decisions["label"], classes)
    counts = confusion(targets, decisions["label"], classes)
    one_hot = np.zeros((len(cells), size * (size + 1)))
    one_hot[np.arange(len(cells)), cells] = 1
    low, high = cluster_interval(
        one_hot,
        decisions["cluster"].to_numpy(),
        lambda sums: macro_f1(sums.reshape(-1, size, size + 1)),
    )
    values: dict[str, float | int | None] = {
        "macro_f1": float(macro_f1(counts)),
        "macro_f1_low": low,
        "macro_f1_high": high,
        "macro_f1_valid_only": _number(macro_f1(valid_only(counts))),
        "weighted_f1": float(weighted_f1(counts)),
    }
    if legacy is not None:
        read = confusion(targets, legacy, classes)
        kept = valid_only(read)
        published = weighted_f1(kept) if average == "weighted" else macro_f1(kept, fixed)
        values["f1[legacy]"] = _number(published) if kept.sum() else None
        values["macro_f1_all[legacy]"] = float(macro_f1(read))
        values["invalid_rate[legacy]"] = float(read[:, -1].sum() / read.sum())
    return values, {"classes": _by_class(counts, classes)}


def _cells(targets: Iterable[Any], predictions: Iterable[Any], classes: Sequence[str]) -> Any:
    places = {label: i for i, label in enumerate(classes)}
    size = len(classes)
    try:
        rows = np.array([places[target] for target in targets], dtype=int)
    except KeyError as error:
        raise ValueError(f"the target {error} is none of the classes {list(classes)}") from None
    columns = np.array([places.get(label, size) for label in predictions], dtype=int)
    return rows * (size + 1) + columns


def _margins(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, targets and predictions of each class."""
    square = np.asarray(counts, dtype=float)[..., :-1]
    hits = np.diagonal(square, axis1=-2, axis2=-1)
    return hits, np.asarray(counts, dtype=float).sum(axis=-1), square.sum(axis=-2)


def _ratio(above: np.ndarray, below: np.ndarray, undefined: float) -> np.ndarray:
    ratio: np.ndarray = np.full(np.shape(above), undefined)
    np.divide(above, below, out=ratio, where=np.asarray(below) > 0)
    return ratio


def _by_class(counts: np.ndarray, classes: Sequence[str]) -> Json:
    hits, asked, said = _margins(counts)
    scores = f1_by_class(counts)
    return [
        {
            "class": label,
            "targets": int(asked[i]),
            "predictions": int(said[i]),
            "precision": float(hits[i] / said[i]) if said[i] else None,
            "recall": float(hits[i] / asked[i]) if asked[i] else None,
            "f1": float(scores[i]),
        }
        for i, label in enumerate(classes)
    ]


def _number(value: Any) -> float | None:
    number = float(value)
    return None if np.isnan(number) else number
