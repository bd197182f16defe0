"""How well predicted spans meet the true ones. Spans are (onset, offset) in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench.stats import cluster_mean, wilson
from lalm_bench.types import Json, Metrics

if TYPE_CHECKING:
    import pandas as pd

Span = tuple[float, float]

THRESHOLDS = (0.3, 0.5, 0.7)
COLLARS = (0.2, 0.5)
OFFSET_SHARE = 0.5
HEADLINE = ("miou", "r1_iou_0.3", "r1_iou_0.5", "r1_iou_0.7", "collar_f1_0.5", "invalid_rate")


def iou(first: Span, second: Span) -> float:
    """Intersection over union of two spans.

    Examples
    --------
    >>> iou((0, 2), (1, 3))
    0.3333333333333333
    """
    shared = min(first[1], second[1]) - max(first[0], second[0])
    if shared <= 0:
        return 0.0
    return shared / (max(first[1], second[1]) - min(first[0], second[0]))


def set_iou(predicted: Sequence[Span], true: Sequence[Span]) -> float:
    """Seconds in both sets of spans over seconds in either; overlaps within a set count once.

    Examples
    --------
    >>> set_iou([(0, 1), (4, 5)], [(0, 1), (2, 3)])
    0.3333333333333333
    """
    if len(predicted) == 1 == len(true):
        return iou(predicted[0], true[0])
    ours, theirs = _merged(predicted), _merged(true)
    shared, i, j = 0.0, 0, 0
    while i < len(ours) and j < len(theirs):
        shared += max(0.0, min(ours[i][1], theirs[j][1]) - max(ours[i][0], theirs[j][0]))
        if ours[i][1] <= theirs[j][1]:
            i += 1
        else:
            j += 1
    union = sum([b - a for a, b in ours]) + sum([b - a for a, b in theirs]) - shared
    return shared / union if union else 0.0


def best_match(span: Span, true: Sequence[Span]) -> Span:
    """The true span of greatest IoU with `span`; the one with the nearest ends when none overlaps.

    Equal ones: the earliest.
    """

    def rank(candidate: Span) -> tuple[float, float]:
        away = abs(candidate[0] - span[0]) + abs(candidate[1] - span[1])
        return iou(span, candidate), -away

    return max(true, key=rank)


def collar_hits(predicted: Sequence[Span], true: Sequence[Span], collar: float) -> int:
    """Largest number of one-to-one pairs whose ends agree within the collar.

    Onsets may differ by `collar` seconds; offsets by `collar` seconds or by half of the true span's
    length, whichever is more.

    References
    ----------
    Mesaros, Heittola, Virtanen (2016), "Metrics for polyphonic sound event detection", Applied
    Sciences 6(6), event-based metrics.
    """
    if len(predicted) == 1 == len(true):
        return int(_within(predicted[0], true[0], collar))
    from scipy.optimize import linear_sum_assignment

    hits = np.array([[_within(p, t, collar) for t in true] for p in predicted], dtype=float)
    hits = hits.reshape(len(predicted), len(true))
    rows, columns = linear_sum_assignment(hits, maximize=True)
    return int(hits[rows, columns].sum())


def item_values(predicted: Sequence[Span], true: Sequence[Span]) -> dict[str, float]:
    """Values of one item; no predicted span scores 0, and has no onset or offset error (NaN).

    Parameters
    ----------
    predicted : sequence of (float, float)
        In the model's order: the first one is its best.
    true : sequence of (float, float)
        At least one.

    Returns
    -------
    dict
        `iou` (of the sets), `first_iou` (of the first span with the true one it meets best),
        `onset_error_s` and `offset_error_s` (of that pair, absolute), `n_predicted`, `n_true` and
        `collar_hits_<s>`.
    """
    values = {"iou": 0.0, "first_iou": 0.0, "onset_error_s": np.nan, "offset_error_s": np.nan}
    if predicted:
        first = predicted[0]
        nearest = best_match(first, true)
        values = {
            "iou": set_iou(predicted, true),
            "first_iou": iou(first, nearest),
            "onset_error_s": abs(first[0] - nearest[0]),
            "offset_error_s": abs(first[1] - nearest[1]),
        }
    for collar in COLLARS:
        hits = collar_hits(predicted, true, collar) if predicted else 0
        values[f"collar_hits_{collar}"] = float(hits)
    return values | {"n_predicted": float(len(predicted)), "n_true": float(len(true))}


def summarise(decisions: pd.DataFrame, groups: Sequence[str] = ()) -> Metrics:
    """Headline values and breakdowns of a grounding run.

    An answer without spans is `invalid`: IoU 0, no hit at any threshold, its true spans missed.
    Only the errors of onset and offset leave it out, having nothing to measure; beside them stands
    the number of answers that they rest on.

    Parameters
    ----------
    decisions : DataFrame
        Columns `label` (None when invalid), `cluster`, `stage`, those of `item_values`, and
        `whole_clip_iou`: what answering the whole clip would score (NaN where unknown).
    groups : sequence of str
        Further columns to break the values down by.
    """
    table = decisions
    if not len(table):
        return Metrics({"n": 0, "miou": None}, {}, HEADLINE)
    robust = cluster_mean(table["iou"].to_numpy(dtype=float), table["cluster"].to_numpy())
    valid = table["label"].notna().to_numpy()
    values: dict[str, float | int | None] = {
        **_block(table),
        "n_clusters": int(table["cluster"].nunique()),
        "n_valid": int(valid.sum()),
        "miou_cluster_low": robust.low,
        "miou_cluster_high": robust.high,
        "miou_cluster_stderr": robust.stderr,
        "miou_valid_only": _mean(table["iou"][valid]),
        "miou_whole_clip": _mean(table["whole_clip_iou"]),
        "spans_per_answer": _mean(table["n_predicted"][valid]),
        "spans_true": _mean(table["n_true"]),
    }
    for name in ("onset", "offset"):
        errors = table[f"{name}_error_s"].to_numpy(dtype=float)[valid]
        values[f"{name}_error_mean_s"] = float(errors.mean()) if len(errors) else None
        values[f"{name}_error_median_s"] = float(np.median(errors)) if len(errors) else None
    for threshold in THRESHOLDS:
        hits = int((table["first_iou"] >= threshold).sum())
        low, high = wilson(hits, len(table))
        values |= {f"r1_iou_{threshold}_low": low, f"r1_iou_{threshold}_high": high}
    stages = table["stage"].value_counts()
    analysis: dict[str, Json] = {
        "parse_stages": [
            {"value": str(k), "count": int(v), "rate": int(v) / len(table)}
            for k, v in sorted(stages.items(), key=lambda item: (-int(item[1]), str(item[0])))
        ]
    }
    for column in groups:
        analysis[f"by_{column}"] = [
            {"value": _plain(value), **_block(part)}
            for value, part in table.groupby(column, observed=True, sort=True)
        ]
    return Metrics(values, analysis, HEADLINE)


def _block(table: pd.DataFrame) -> dict[str, Any]:
    """What is reported of the whole and of each group."""
    block: dict[str, Any] = {"n": len(table), "miou": _mean(table["iou"])}
    for threshold in THRESHOLDS:
        block[f"r1_iou_{threshold}"] = float((table["first_iou"] >= threshold).mean())
    for collar in COLLARS:
        hits = float(table[f"collar_hits_{collar}"].sum())
        both = float(table["n_predicted"].sum() + table["n_true"].sum())
        block[f"collar_f1_{collar}"] = 2 * hits / both if both else None
    block["invalid_rate"] = float(table["label"].isna().mean())
    return block


def _mean(column: pd.Series[Any]) -> float | None:
    known = column.to_numpy(dtype=float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else None


def _plain(value: Any) -> Json:
    plain: Json = value.item() if isinstance(value, np.generic) else value
    return plain


def _within(predicted: Span, true: Span, collar: float) -> bool:
    slack = max(collar, OFFSET_SHARE * (true[1] - true[0]))
    return abs(predicted[0] - true[0]) <= collar and abs(predicted[1] - true[1]) <= slack


def _merged(spans: Sequence[Span]) -> list[Span]:
    """The same seconds as disjoint spans, ascending."""
    merged: list[Span] = []
    for onset, offset in sorted(spans):
        if merged and onset <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], offset))
        else:
            merged.append((onset, offset))
    return merged
