"""One run against its baseline, item by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lalm_bench.compare.loaded import Table, what_differs
from lalm_bench.compare.measures import Measure
from lalm_bench.errors import DataError
from lalm_bench.metrics.bootstrap import cluster_interval
from lalm_bench.stats import (
    Estimate,
    benjamini_hochberg,
    cluster_mean,
    mcnemar,
    paired_difference,
    sign_flip,
    smallest_difference,
    swap_test,
)

_MOST_GROUPS = 40
_REPLICATES = 2000


@dataclass(frozen=True)
class Pairs:
    """Decisions on the same requests in two runs.

    Parameters
    ----------
    first, second : array of int, shape (pairs,)
        Rows of the two tables.
    item : array of int, shape (pairs,)
        Which item a pair belongs to: rotations of the options are one item.
    only_first, only_second : int
        Items that the other run does not have.
    """

    first: np.ndarray
    second: np.ndarray
    item: np.ndarray
    only_first: int
    only_second: int


def join(first: Table, second: Table) -> Pairs:
    """Match two runs by item and variant.

    Raises
    ------
    DataError
        They have no request in common, or asked something else under one name.
    """
    if first.keys == second.keys:
        a = b = np.arange(len(first.keys))
    else:
        place = {key: row for row, key in enumerate(second.keys)}
        both = [(row, place[key]) for row, key in enumerate(first.keys) if key in place]
        if not both:
            raise DataError(
                f"{second.run.folder} and {first.run.folder} have no item in common; "
                "compare runs of one data set"
            )
        a, b = (np.array(rows) for rows in zip(*both, strict=True))
    mine, theirs = np.array(first.signatures)[a], np.array(second.signatures)[b]
    if (other := np.flatnonzero(mine != theirs)).size:
        key = first.keys[a[other[0]]]
        raise DataError(
            f"{second.run.folder} asked something else than the baseline in {other.size} of "
            f"{len(a)} requests, first item '{key[0]}', {what_differs(first.run, second.run, key)}"
        )
    ids = [first.keys[row][0] for row in a]
    places: dict[str, int] = {}
    item = np.array([places.setdefault(name, len(places)) for name in ids])
    return Pairs(
        a,
        b,
        item,
        len({key[0] for key in first.keys}.difference(places)),
        len({key[0] for key in second.keys}.difference(places)),
    )


@dataclass
class Result:
    """What pairing gave; numbers are None where they are not defined.

    `delta` is run minus baseline. `p` tests it by exchanging the runs in whole clusters; `p_holm`
    corrects for all runs of the report, `q` (in `groups`) for the values of that group.
    """

    n: int
    clusters: int
    missing: int
    extra: int
    without_value: int
    baseline: float | None
    value: float | None
    delta: float | None
    low: float | None
    high: float | None
    stderr: float | None
    p: float
    test: str
    p_mcnemar: float | None = None
    p_holm: float | None = None
    smallest_difference: float | None = None
    answers: dict[str, float | int | None] = field(default_factory=dict)
    groups: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def pair(first: Table, second: Table, measure: Measure, groups: Sequence[str] = ()) -> Result:
    """Compare `second` with its baseline `first`; see `Result`.

    Raises
    ------
    DataError
        No common item, other questions, or no value to compare.
    """
    pairs = join(first, second)
    a, b = measure.parts(first)[pairs.first], measure.parts(second)[pairs.second]
    known = ~(np.isnan(a).any(axis=1) | np.isnan(b).any(axis=1))
    if not known.any():
        raise DataError(f"{second.run.folder}: no common item has a value of {measure.name}")
    items, lead = _items(pairs.item[known])
    rows = pairs.first[known]
    clusters = _codes([first.columns["cluster"][row] for row in rows[lead]])
    a, b = _item_means(a[known], items), _item_means(b[known], items)
    found = _mean(a[:, 0], b[:, 0], clusters)
    if measure.statistic is not None:
        found = _pooled(a, b, clusters, measure)
    estimate, before, after, test = found
    result = Result(
        n=len(lead),
        clusters=int(clusters.max()) + 1,
        missing=pairs.only_first,
        extra=pairs.only_second,
        without_value=len(set(pairs.item)) - len(lead),
        baseline=before,
        value=after,
        delta=estimate.value,
        low=estimate.low,
        high=estimate.high,
        stderr=estimate.stderr,
        p=test.p,
        test=test.method,
        smallest_difference=(smallest_difference(estimate.stderr) if estimate.stderr else None),
    )
    if measure.right_or_wrong and set(np.unique([a, b])) <= {0.0, 1.0}:
        result.p_mcnemar = mcnemar(int((a > b).sum()), int((a < b).sum()))
    if (first.columns["n_options"][0] or 0) > 0:
        result.answers = answers(first, second, pairs, measure)
    if measure.statistic is None:
        for name in groups:
            values = [first.columns[name][row] for row in rows[lead]]
            if table := _breakdown(values, a[:, 0], b[:, 0], clusters, measure):
                result.groups[name] = table
    return result


def _mean(
    a: np.ndarray, b: np.ndarray, clusters: np.ndarray, draws: int = 10_000
) -> tuple[Estimate, Any, Any, Any]:
    estimate = paired_difference(a, b, clusters)
    if not estimate.stderr:
        # An interval without width would claim certainty where all items merely went one way.
        estimate = Estimate(estimate.value, None, None, None, len(a))
    return estimate, float(a.mean()), float(b.mean()), sign_flip(b - a, clusters, draws=draws)


def _pooled(
    a: np.ndarray, b: np.ndarray, clusters: np.ndarray, measure: Measure
) -> tuple[Estimate, Any, Any, Any]:
    statistic, width = measure.statistic, a.shape[1]
    if statistic is None:
        raise TypeError(f"{measure.name} is a mean")
    before, after = (float(statistic(parts.sum(axis=0)[None])[0]) for parts in (a, b))
    low, high = cluster_interval(
        np.concatenate([a, b], axis=1),
        clusters,
        lambda sums: statistic(sums[:, width:]) - statistic(sums[:, :width]),
        replicates=_REPLICATES,
    )
    if not (a != b).any():
        low = high = None
    test = swap_test(a, b, clusters, statistic)
    return Estimate(after - before, low, high, None, len(a)), before, after, test


def answers(first: Table, second: Table, pairs: Pairs, measure: Measure) -> dict[str, Any]:
    """How often answers stayed, and which way they went.

    Returns
    -------
    dict
        Shares and counts of items; an item asked in several variants counts by its share of them.
        `consistency` is the share of equal labels where both answers are valid (`n_both_valid`),
        `consistency_all` that over all items, where an invalid answer equals none, each with a
        clustered interval. `right_to_wrong` includes `right_to_null`, `wrong_to_right` includes
        `null_to_right`.
    """
    mine, theirs = (
        np.array([t.columns["label"][row] for row in rows], dtype=object)
        for t, rows in ((first, pairs.first), (second, pairs.second))
    )
    null, gone = mine == None, theirs == None  # noqa: E711 - elementwise
    same, both = (mine == theirs) & ~null, ~null & ~gone
    weight = 1 / np.bincount(pairs.item)[pairs.item]
    found: dict[str, Any] = {
        "n_both_valid": _count(weight, both),
        "null_before": _count(weight, null),
        "null_after": _count(weight, gone),
        "null_to_label": _count(weight, null & ~gone),
        "label_to_null": _count(weight, ~null & gone),
    }
    for name, which in (("consistency", both), ("consistency_all", np.ones_like(both))):
        items, lead = _items(pairs.item[which])
        agreement = _item_means(same[which].astype(float)[:, None], items)[:, 0]
        rows = pairs.first[which][lead]
        share = cluster_mean(agreement, [first.columns["cluster"][row] for row in rows])
        found[name] = share.value
        for end, value in (("low", share.low), ("high", share.high)):
            shown = None if value is None or not share.stderr else min(max(value, 0.0), 1.0)
            found[f"{name}_{end}"] = shown
    if measure.right_or_wrong:
        column = measure.columns[0]
        was, now = (
            np.array([t.columns[column][row] == 1 for row in rows])
            for t, rows in ((first, pairs.first), (second, pairs.second))
        )
        found |= {
            "right_to_wrong": _count(weight, was & ~now),
            "right_to_null": _count(weight, was & ~now & gone),
            "wrong_to_right": _count(weight, ~was & now),
            "null_to_right": _count(weight, ~was & now & null),
        }
    return found


def _breakdown(
    values: list[Any], a: np.ndarray, b: np.ndarray, clusters: np.ndarray, measure: Measure
) -> list[dict[str, Any]]:
    """One row a value of a group; empty where there is nothing to break down."""
    names = sorted({str(value) for value in values if value is not None})
    if not 1 < len(names) <= _MOST_GROUPS:
        return []
    column = np.array([None if value is None else str(value) for value in values], dtype=object)
    rows = []
    for name in names:
        part = column == name
        estimate, before, after, test = _mean(a[part], b[part], clusters[part], _REPLICATES)
        row = {
            "value": name,
            "n": int(part.sum()),
            "clusters": len(np.unique(clusters[part])),
            "baseline": before,
            "run": after,
            "delta": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "p": test.p,
        }
        if measure.right_or_wrong:
            change = b[part] - a[part]
            row["right_to_wrong"] = _plain(-change[change < 0].sum())
            row["wrong_to_right"] = _plain(change[change > 0].sum())
        rows.append(row)
    for row, q in zip(rows, benjamini_hochberg([row["p"] for row in rows]), strict=True):
        row["q"] = float(q)
    return rows


def _items(item: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Consecutive numbers of items, and the first pair of each."""
    _, lead, codes = np.unique(item, return_index=True, return_inverse=True)
    return codes, lead


def _item_means(values: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Mean over the requests of each item, shape (items, parts)."""
    counts = np.bincount(items)
    columns = [np.bincount(items, weights=column) for column in values.T]
    return np.asarray(np.stack(columns, axis=1) / counts[:, None])


def _codes(names: list[Any]) -> np.ndarray:
    places: dict[Any, int] = {}
    return np.array([places.setdefault(name, len(places)) for name in names])


def _count(weight: np.ndarray, which: np.ndarray) -> float | int:
    return _plain(weight @ which)


def _plain(count: Any) -> float | int:
    rounded = round(float(count), 6)
    return int(rounded) if rounded.is_integer() else rounded
