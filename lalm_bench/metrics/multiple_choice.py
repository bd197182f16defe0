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
        `n_options`, `cluster`, `stage`, `conflict`; optionally `answer_type`, the groups, and
        `correct[<parser>]`.
    groups : sequence of str
        Further columns to break accuracy down by.
    """
    table = decisions
    n = len(table)
    if not n:
        return Metrics({"n": 0, "accuracy": None}, {})
    correct = table["correct"].to_numpy(dtype=float)
    predicted = table["label"].astype(object).where(table["label"].notna(), INVALID)
    options = table["n_options"].to_numpy(dtype=float)
    accuracy = float(correct.mean())
    chance = float((1 / options).mean())
    low, high = wilson(correct.sum(), n)
    robust = cluster_mean(correct, table["cluster"].to_numpy())
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
        "accuracy_balanced": float(table.groupby("target", observed=True)["correct"].mean().mean()),
        "accuracy_valid_only": float(correct[valid].mean()) if valid.any() else None,
        "chance": chance,
        "chance_corrected": chance_corrected(accuracy, chance),
        "best_constant_answer": constant["accuracy"],
        "invalid_rate": float(1 - valid.mean()),
        "conflict_rate": float(table["conflict"].mean()),
        "answer_entropy_bits": entropy_bits(answers.to_numpy()),
        "prediction_entropy_bits": entropy_bits(predicted.value_counts().to_numpy()),
    }
    for column in table.columns:
        if column.startswith("correct["):
            values[f"accuracy{column.removeprefix('correct')}"] = float(table[column].mean())
    analysis: dict[str, Json] = {
        "best_constant_answer": constant,
        "parse_stages": _shares(table["stage"]),
        "answer_distribution": _shares(table["target"]),
        "prediction_distribution": _shares(predicted),
        "confusion": _confusion(table["target"], predicted),
    }
    for column in dict.fromkeys((*groups, *_ALWAYS)):
        if column in table.columns:
            analysis[f"by_{column}"] = _breakdown(table, column)
    return Metrics(values, analysis)


def _best_constant(table: pd.DataFrame) -> dict[str, Any]:
    """The label, or the option text, that scores best when it is always given."""
    best: dict[str, Any] = {"by": None, "answer": None, "accuracy": 0.0}
    for column, kind in (("target", "label"), ("target_text", "text")):
        counts = table[column].value_counts()
        # Ties go to the first in alphabetical order, so that two equal runs name the same answer.
        top = counts[counts == counts.max()].sort_index()
        if len(top) and top.iloc[0] / len(table) > best["accuracy"]:
            share = float(top.iloc[0] / len(table))
            best = {"by": kind, "answer": str(top.index[0]), "accuracy": share}
    return best


def _shares(column: pd.Series[Any]) -> list[Json]:
    counts = column.value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))
    total = int(counts.sum())
    return [{"value": _plain(k), "count": int(v), "rate": int(v) / total} for k, v in ordered]


def _breakdown(table: pd.DataFrame, column: str) -> list[Json]:
    rows: list[Json] = []
    for value, part in table.groupby(column, observed=True, sort=True):
        hits = float(part["correct"].sum())
        low, high = wilson(hits, len(part))
        rows.append(
            {
                "value": _plain(value),
                "n": len(part),
                "correct": int(hits),
                "accuracy": hits / len(part),
                "low": low,
                "high": high,
                "chance": float((1 / part["n_options"].to_numpy(dtype=float)).mean()),
                "best_constant_answer": _best_constant(part)["accuracy"],
                "invalid_rate": float(part["label"].isna().mean()),
            }
        )
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
            if isinstance(row, dict):
                flat[f"accuracy/{name}/{row['value']}"] = float(row["accuracy"])
    return flat
