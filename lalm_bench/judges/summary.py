"""A judged run in numbers: what the panel says, each judge alone, and how far they agree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lalm_bench.judges.fields import NOMINAL, ORDINAL, Field
from lalm_bench.metrics.agreement import Scale, agreement, spearman
from lalm_bench.metrics.bootstrap import cluster_interval
from lalm_bench.types import Json, Metrics

if TYPE_CHECKING:
    import pandas as pd

_NO_VERDICT = "no judge has given a verdict on any of these answers"


def summarise(
    decisions: pd.DataFrame, judges: Sequence[str], fields: Sequence[Field], groups: Sequence[str]
) -> Metrics:
    """The panel's numbers with intervals, those of each judge, agreement, and bias by length.

    Parameters
    ----------
    decisions : DataFrame
        One row a judged answer: `id`, `cluster`, `text`, the groups; for each field
        `judge_<field>` (the panel's number), and for each judge J `<field>[J]` and
        `malformed[J]`. NaN or None where there is none.
    judges : sequence of str
    fields : sequence of Field
    groups : sequence of str
        Columns to break the panel's numbers down by; one that is absent is left out.

    Returns
    -------
    Metrics
        A nominal field has no mean: it gives the share of each level, `judge_<field>_<level>`.

    Notes
    -----
    Means are over answers with a number. What was malformed or not judged is no zero: it is
    counted in `judge_malformed_rate` (of the verdicts given) and `judge_judged_rate` (of all
    answers; both are means over judges). Intervals are percentile bootstraps over clusters.
    The rank correlation with length describes; longer answers may also be better.
    """
    n = len(decisions)
    measured = [measure for field in fields for measure in _measures(field)]
    headline = tuple(measured_name for measured_name, *_ in measured)
    items = {
        "n": int(decisions["id"].nunique()) if n else 0,
        "n_clusters": int(decisions["cluster"].nunique()) if n else 0,
        "n_answers": n,
    }
    values: dict[str, float | int | None] = {**items}
    if not n or all(decisions[f"malformed[{judge}]"].isna().all() for judge in judges):
        empty: dict[str, float | int | None] = {**values, **dict.fromkeys(headline)}
        return Metrics(empty, {"not_computed": dict.fromkeys(headline, _NO_VERDICT)}, headline)
    analysis: dict[str, Json] = {}
    for name, field, level in measured:
        values |= _estimate(decisions, name, f"judge_{field.name}", level)
    for field in fields:
        values[f"judge_n_{field.name}"] = int(decisions[f"judge_{field.name}"].notna().sum())
    rows = [_judge(decisions, judge, measured) for judge in judges]
    values |= {f"{name}[{row['value']}]": row[name] for row in rows for name in headline}
    for name in ("malformed_rate", "judged_rate"):
        known = [share for row in rows if (share := row[name]) is not None]
        values[f"judge_{name}"] = float(np.mean(known))
    analysis["by_judge"] = [*rows]
    given = [judge for judge in judges if decisions[f"malformed[{judge}]"].notna().any()]
    if len(given) > 1:
        analysis["judge_agreement"] = _agreement(values, decisions, given, fields)
    analysis["judge_bias_by_length"] = _by_length(values, decisions, fields)
    for group in groups:
        if group in decisions:
            analysis[f"by_{group}"] = _breakdown(decisions, group, measured)
    return Metrics(values, analysis, headline)


def scale_of(field: Field) -> Scale:
    """How agreement on a field is measured."""
    return "ordinal" if field.scale == ORDINAL else "nominal"


def level_names(field: Field) -> dict[float, str]:
    """Number -> the first text that stands for it, as part of a metric's name.

    Examples
    --------
    >>> level_names(Field(name="x", levels={"Both": 2, "Good": 2, "Audio-Oriented": 0}))
    {2.0: 'both', 0.0: 'audio_oriented'}
    """
    found: dict[float, str] = {}
    for text, number in (field.levels or {}).items():
        found.setdefault(float(number), re.sub(r"\W+", "_", text.lower()).strip("_"))
    return found


# Name of a value, its field, and the level whose share it is (None: the mean).
_Measure = tuple[str, Field, float | None]


def _measures(field: Field) -> list[_Measure]:
    if field.scale != NOMINAL:
        return [(f"judge_{field.name}", field, None)]
    names = level_names(field)
    return [(f"judge_{field.name}_{name}", field, number) for number, name in names.items()]


def _numbers(
    decisions: pd.DataFrame, column: str, level: float | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What a mean is taken of, and where it is known."""
    given = decisions[column].to_numpy(dtype=float)
    known = ~np.isnan(given)
    return (given if level is None else (given == level).astype(float)), known


def _mean(decisions: pd.DataFrame, column: str, level: float | None) -> float | None:
    given, known = _numbers(decisions, column, level)
    return float(given[known].mean()) if known.any() else None


def _estimate(
    decisions: pd.DataFrame, name: str, column: str, level: float | None, kind: str = "_bootstrap"
) -> dict[str, float | int | None]:
    """A mean with its interval."""
    given, known = _numbers(decisions, column, level)
    parts = np.column_stack([np.where(known, given, 0.0), known])[known]
    clusters = decisions["cluster"].to_numpy(dtype=object)[known]
    low, high = cluster_interval(parts, clusters, lambda sums: sums[:, 0] / sums[:, 1])
    mean = _mean(decisions, column, level)
    return {name: mean, f"{name}{kind}_low": low, f"{name}{kind}_high": high}


def _judge(
    decisions: pd.DataFrame, judge: str, measured: Sequence[_Measure]
) -> dict[str, float | None]:
    malformed = decisions[f"malformed[{judge}]"].to_numpy(dtype=float)
    given = malformed[~np.isnan(malformed)]
    row: dict[str, float | None] = {
        "value": judge,  # type: ignore[dict-item]
        "n": len(given),
        "judged_rate": len(given) / len(decisions),
        "malformed_rate": float(given.mean()) if len(given) else None,
    }
    for name, field, level in measured:
        row[name] = _mean(decisions, f"{field.name}[{judge}]", level)
    return row


def _agreement(
    values: dict[str, float | int | None],
    decisions: pd.DataFrame,
    judges: Sequence[str],
    fields: Sequence[Field],
) -> list[Json]:
    """Put each field's agreement into `values`; a row for each field and pair of judges."""
    rows: list[Json] = []
    for field in fields:
        ratings = {j: decisions[f"{field.name}[{j}]"].to_numpy(dtype=float) for j in judges}
        found = agreement(ratings, scale_of(field))
        values |= {
            f"judge_alpha_{field.name}": found.alpha,
            f"judge_kappa_{field.name}": found.kappa,
            f"judge_equal_rate_{field.name}": found.equal_rate,
        }
        rows += [{"field": field.name, **pair} for pair in found.pairs]
    return rows


def _by_length(
    values: dict[str, float | int | None], decisions: pd.DataFrame, fields: Sequence[Field]
) -> list[Json]:
    """Rank correlation of the panel's numbers with the answer's length in words."""
    rows: list[Json] = []
    if "text" not in decisions:
        return rows
    words = np.array([len(str(text).split()) for text in decisions["text"]], dtype=float)
    for field in fields:
        if field.scale != NOMINAL:
            given, known = _numbers(decisions, f"judge_{field.name}", None)
            rho = spearman(given, words)
            values[f"judge_length_spearman_{field.name}"] = rho
            rows.append({"field": field.name, "n": int(known.sum()), "spearman": rho})
    return rows


def _breakdown(decisions: pd.DataFrame, group: str, measured: Sequence[_Measure]) -> list[Json]:
    rows: list[Json] = []
    for value, part in decisions.groupby(group, observed=True, sort=True):
        row: dict[str, Json] = {"value": str(value), "n": len(part)}
        for name, field, level in measured:
            row |= _estimate(part, name, f"judge_{field.name}", level, "")
        rows.append(row)
    return rows
