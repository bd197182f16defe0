"""Metrics of a multiple-choice run, from the table of its decisions.

Invalid answers are wrong in every accuracy and have a rate of their own. Items whose answer is an
error are not in the table: the pipeline counts them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench.stats import chance_corrected, cluster_mean, entropy_bits, wilson
from lalm_bench.types import Json, Metrics

if TYPE_CHECKING:
    import pandas as pd

INVALID = "INVALID"
_ALWAYS = ("target", "n_options", "answer_type")


def summarise(decisions: pd.DataFrame, groups: Sequence[str] = ()) -> Metrics:
    """Headline values and breakdowns.

    Parameters
    ----------
    decisions : DataFrame
        Columns `target`, `target_text`, `label` (None when invalid), `correct` (0/1),
        `n_options`, `cluster`, `stage`, `conflict`; optionally `answer_type`, the groups,
        `correct[<rule>]` (NaN where a rule decided nothing), and `id`: rows with one id are one
        item asked several times, and count as one.
    groups : sequence of str
        Further columns to break accuracy down by.
    """
    if not len(decisions):
        return Metrics({"n": 0, "accuracy": None}, {})
    table = decisions.assign(weight=_weights(decisions))
    weight = table["weight"].to_numpy()
    n = round(weight.sum())
    correct = table["correct"].to_numpy(dtype=float)
    predicted = table["label"].astype(object).where(table["label"].notna(), INVALID)
    options = table["n_options"].to_numpy(dtype=float)
    hits = _hits(correct, weight, n)
    accuracy = hits / n
    chance = float(weight @ (1 / options) / n)
    low, high = wilson(hits, n)
    robust = cluster_mean(*_by_item(table))
    valid = (predicted != INVALID).to_numpy()
    answers = table["target"].value_counts()
    constant = _best_constant(table)
    values: dict[str, float | int | None] = {
        "n": n,
        "n_clusters": int(table["cluster"].nunique()),
        "accuracy": accuracy,
        "accuracy_wilson_low": low,
        "accuracy_wilson_high": high,
        "accuracy_cluster_low": robust.low,
        "accuracy_cluster_high": robust.high,
        "accuracy_cluster_stderr": robust.stderr,
        "accuracy_balanced": _balanced(table),
        "accuracy_valid_only": _mean(correct[valid], weight[valid]),
        "chance": chance,
        "chance_corrected": chance_corrected(accuracy, chance),
        "best_constant_answer": constant["accuracy"],
        "invalid_rate": float(weight @ ~valid / n),
        "conflict_rate": float(weight @ table["conflict"].to_numpy(dtype=float) / n),
        "answer_entropy_bits": entropy_bits(answers.to_numpy()),
        "prediction_entropy_bits": entropy_bits(predicted.value_counts().to_numpy()),
    }
    if len(table) != n:
        values["n_answers"] = len(table)
    rates = [column for column in table.columns if column.startswith("correct[")]
    for column in rates:
        values[f"accuracy{column.removeprefix('correct')}"] = _mean(table[column], weight)
    analysis: dict[str, Json] = {
        "best_constant_answer": constant,
        "parse_stages": _shares(table["stage"]),
        "answer_distribution": _shares(table["target"]),
        "prediction_distribution": _shares(predicted),
        "confusion": _confusion(table["target"], predicted),
    }
    for column in dict.fromkeys((*groups, *_ALWAYS)):
        if column in table.columns:
            analysis[f"by_{column}"] = _breakdown(table, column, rates)
    return Metrics(values, analysis)


def _weights(table: pd.DataFrame) -> Any:
    """One item counts once, however many requests asked it."""
    if "id" not in table or table["id"].is_unique:
        return np.ones(len(table))
    return 1 / table.groupby("id")["id"].transform("size").to_numpy(dtype=float)


def _by_item(table: pd.DataFrame) -> tuple[Any, Any]:
    """Each item's share of right answers, and its cluster."""
    if "id" not in table or table["id"].is_unique:
        return table["correct"].to_numpy(dtype=float), table["cluster"].to_numpy()
    items = table.groupby("id", sort=False)
    return items["correct"].mean().to_numpy(), items["cluster"].first().to_numpy()


def _hits(correct: Any, weight: Any, n: int) -> float:
    """Items answered right; rounded, since three thirds must not make more than one item."""
    return min(round(float(weight @ correct), 9), float(n))


def _mean(values: Any, weight: Any) -> float | None:
    """Weighted mean over what is known; None when nothing is."""
    numbers = np.asarray(values, dtype=float)
    known = ~np.isnan(numbers)
    total = float(weight[known].sum())
    return float(weight[known] @ numbers[known] / total) if total else None


def _balanced(table: pd.DataFrame) -> float:
    """Mean over the right labels of the accuracy where they are right."""
    hits = (table["correct"] * table["weight"]).groupby(table["target"], observed=True).sum()
    return float((hits / table.groupby("target", observed=True)["weight"].sum()).mean())


def _best_constant(table: pd.DataFrame) -> dict[str, Any]:
    """The label, or the option text, that scores best when it is always given.

    Where the order of options was changed, a place stands for the label that was shown there.
    """
    best: dict[str, Any] = {"by": None, "answer": None, "accuracy": 0.0}
    place = "target_position" in table
    total = float(table["weight"].sum())
    for column, kind in (
        ("target_position" if place else "target", "place" if place else "label"),
        ("target_text", "text"),
    ):
        counts = table.groupby(column, observed=True)["weight"].sum()
        # Ties go to the first in alphabetical order, so that two equal runs name the same answer.
        top = counts[counts == counts.max()].sort_index()
        if len(top) and top.iloc[0] / total > best["accuracy"]:
            answer = int(top.index[0]) + 1 if kind == "place" else top.index[0]
            best = {"by": kind, "answer": str(answer), "accuracy": float(top.iloc[0] / total)}
    return best


def _shares(column: pd.Series[Any]) -> list[Json]:
    counts = column.value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))
    total = int(counts.sum())
    return [{"value": _plain(k), "count": int(v), "rate": int(v) / total} for k, v in ordered]


def _breakdown(table: pd.DataFrame, column: str, rates: Sequence[str]) -> list[Json]:
    rows: list[Json] = []
    for value, part in table.groupby(column, observed=True, sort=True):
        weight = part["weight"].to_numpy()
        n = round(weight.sum())
        hits = _hits(part["correct"].to_numpy(dtype=float), weight, n)
        low, high = wilson(hits, n)
        row: dict[str, Json] = {
            "value": _plain(value),
            "n": n,
            "correct": int(hits) if hits.is_integer() else hits,
            "accuracy": hits / n,
            "low": low,
            "high": high,
            "chance": float(weight @ (1 / part["n_options"].to_numpy(dtype=float)) / n),
            "best_constant_answer": _best_constant(part)["accuracy"],
            "invalid_rate": float(weight @ part["label"].isna().to_numpy() / n),
        }
        for rate in rates:
            row[f"accuracy{rate.removeprefix('correct')}"] = _mean(part[rate], weight)
        rows.append(row)
    return rows


def _confusion(target: pd.Series[Any], predicted: pd.Series[Any]) -> Json:
    import pandas as pd

    labels = sorted({*target, *predicted}, key=_label_order)
    counts = pd.crosstab(target, predicted).reindex(index=labels, columns=labels, fill_value=0)
    return {"labels": list(labels), "rows_are": "target", "counts": counts.to_numpy().tolist()}


def _label_order(label: str) -> tuple[bool, int, str]:
    return label == INVALID, len(label), label


def _plain(value: Any) -> Json:
    plain: Json = value.item() if isinstance(value, np.generic) else value
    return plain


def flatten(breakdowns: dict[str, Json], names: Iterable[str]) -> dict[str, float]:
    """`accuracy/<column>/<value>` numbers of the named breakdowns, for trackers."""
    flat = {}
    for name in names:
        rows = breakdowns.get(f"by_{name}")
        for row in rows if isinstance(rows, list) else []:
            accuracy = row.get("accuracy") if isinstance(row, dict) else None
            if isinstance(row, dict) and isinstance(accuracy, int | float):
                flat[f"accuracy/{name}/{row['value']}"] = float(accuracy)
    return flat
