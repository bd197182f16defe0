"""JASCO's two tables: the best of eight answers, and which modality answers lean on.

Wang et al. (2024), arXiv 2409.14526, as the published script computes them: a rating counts only
where the judge finds the answer to rest on both modalities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lalm_bench.metrics.agreement import Scale, agreement
from lalm_bench.metrics.bootstrap import cluster_interval
from lalm_bench.parsing.jasco import ORIENTATIONS
from lalm_bench.types import Json, Metrics

if TYPE_CHECKING:
    import pandas as pd

HEADLINE = ("best_mean", "audio_dependence", "both_dependence", "speech_dependence")
_MODALITIES = ORIENTATIONS[:3]


def scores(rating: ArrayLike, orientation: ArrayLike) -> NDArray[np.float64]:
    """Rating where the orientation is "both", else 0; a missing part is 0 as well.

    Parameters
    ----------
    rating : array of float
        0, 1, 2; NaN when the judge gave none.
    orientation : array of float, same shape
        Index into `parsing.jasco.ORIENTATIONS`; NaN when the judge named none.

    Examples
    --------
    >>> scores([2, 2, np.nan], [2, 0, 2]).tolist()
    [2.0, 0.0, 0.0]
    """
    points = np.nan_to_num(np.asarray(rating, dtype=float))
    both = np.asarray(orientation, dtype=float) == ORIENTATIONS.index("both")
    return np.where(both, points, 0.0)


def judges_of(decisions: pd.DataFrame) -> list[str]:
    """Everyone whose verdicts the table has, whether read from files or given in a judged run.

    Judges of another rubric rate something else.
    """
    named = [
        name.removeprefix("malformed[").removesuffix("]")
        for name in decisions.columns
        if name.startswith("malformed[") and name.endswith("]")
    ]
    return [j for j in named if {f"rating[{j}]", f"orientation[{j}]"} <= {*decisions.columns}]


def summarise(decisions: pd.DataFrame) -> Metrics:
    """Both tables, per judge and as the mean over judges, which is the published number.

    Parameters
    ----------
    decisions : DataFrame
        One row an answer: `id`, `instruction` (1 to 8), and for each judge `rating[<judge>]`,
        `orientation[<judge>]` and `malformed[<judge>]` (NaN where the answer was not judged).
        Without any judge the tables are empty and say why.

    Notes
    -----
    `best_mean` takes each item's best of the instructions that were judged. A maximum over eight
    noisy ratings is biased upwards; `mean_score` is not. Intervals resample items.
    """
    if not len(decisions):
        return Metrics({"n": 0, **dict.fromkeys(HEADLINE)}, {}, HEADLINE)
    items = decisions["id"].nunique()
    values: dict[str, float | int | None] = {
        "n": items,
        "n_clusters": items,
        "n_answers": len(decisions),
    }
    judges = judges_of(decisions)
    judged = [j for j in judges if decisions[f"malformed[{j}]"].notna().any()]
    if not judged:
        reason = (
            "no verdict in task.verdicts has an id and a prompt that was asked"
            if judges
            else "needs verdicts: stage=judge judge=jasco, or judged CSV files in task.verdicts"
        )
        return Metrics(
            values | dict.fromkeys((*_RATIOS, *_RATES)),
            {"not_computed": dict.fromkeys(HEADLINE, reason)},
            HEADLINE,
        )
    parts = {judge: _parts(decisions, judge) for judge in judged}
    rates = {judge: _rates(decisions, judge) for judge in judged}
    for name in _RATIOS:
        estimate = _estimate([part[name] for part in parts.values()])
        values |= {f"{name}{end}": v for end, v in zip(_ENDS, estimate, strict=True)}
    for name in _RATES:
        values[name] = float(np.mean([rate[name] for rate in rates.values()]))
    own = {judge: {n: _estimate([part[n]])[0] for n in _RATIOS} for judge, part in parts.items()}
    if len(judged) > 1:
        values |= {f"{name}[{j}]": found[name] for j, found in own.items() for name in HEADLINE}
    analysis: dict[str, Json] = {
        "by_judge": [{"value": j, **own[j], **rates[j]} for j in judged],
        "by_instruction": _by_instruction(decisions, judged),
        "best_mean_bias": (
            "best_mean is the mean over items of the best of up to "
            f"{int(decisions['instruction'].nunique())} ratings: noise in answers or verdicts "
            "raises it, so it is biased upwards; mean_score, over all ratings, is not"
        ),
    }
    if len(judged) > 1:
        analysis["agreement"] = _agreement(values, decisions, judged)
    return Metrics(values, analysis, HEADLINE)


_RATIOS = (*HEADLINE, "mean_score")
_RATES = ("neither_rate", "malformed_rate", "judged_rate")
_ENDS = ("", "_bootstrap_low", "_bootstrap_high")


def _parts(decisions: pd.DataFrame, judge: str) -> dict[str, pd.DataFrame]:
    """What each item adds to each ratio by one judge: columns `over` and `under`."""
    rows = decisions[decisions[f"malformed[{judge}]"].notna()]
    orientation = rows[f"orientation[{judge}]"].to_numpy(dtype=float)
    score = scores(rows[f"rating[{judge}]"], orientation)
    leaning = np.isin(orientation, range(len(_MODALITIES))).astype(float)
    ones = np.ones(len(rows))
    table = rows[["id"]].assign(score=score, ones=ones, leaning=leaning)
    for code, name in enumerate(_MODALITIES):
        table[name] = (orientation == code).astype(float)
    sums, best = table.groupby("id").sum(), table.groupby("id")["score"].max()
    found = {"best_mean": _ratio(best, sums["ones"].clip(upper=1))}
    found |= {f"{m}_dependence": _ratio(sums[m], sums["leaning"]) for m in _MODALITIES}
    return found | {"mean_score": _ratio(sums["score"], sums["ones"])}


def _ratio(over: pd.Series[float], under: pd.Series[float]) -> pd.DataFrame:
    return over.to_frame("over").assign(under=under)


def _estimate(
    parts: Sequence[pd.DataFrame],
) -> tuple[float | None, float | None, float | None]:
    """Mean over judges of a ratio of sums over items, with its 95 % interval."""
    import pandas as pd

    table = pd.concat(list(parts), axis=1).fillna(0.0).to_numpy(dtype=float)
    value = float(_mean_ratio(table.sum(axis=0)[None])[0])
    if np.isnan(value):
        return None, None, None
    return value, *cluster_interval(table, np.arange(len(table)), _mean_ratio, replicates=2000)


def _mean_ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over judges; those whose ratio has nothing under it are left out."""
    over, under = sums[:, 0::2], sums[:, 1::2]
    known = under > 0
    ratios = np.divide(over, under, out=np.zeros_like(over), where=known)
    count = known.sum(axis=1)
    mean = np.full(len(sums), np.nan)
    np.divide(ratios.sum(axis=1), count, out=mean, where=count > 0)
    return mean


def _rates(decisions: pd.DataFrame, judge: str) -> dict[str, float]:
    malformed = decisions[f"malformed[{judge}]"].dropna()
    orientation = decisions.loc[malformed.index, f"orientation[{judge}]"]
    return {
        "neither_rate": float((orientation == ORIENTATIONS.index("neither")).mean()),
        "malformed_rate": float(malformed.mean()),
        "judged_rate": len(malformed) / len(decisions),
    }


def _agreement(
    values: dict[str, float | int | None], decisions: pd.DataFrame, judges: Sequence[str]
) -> list[Json]:
    """Put agreement into `values`: Krippendorff's alpha and means over pairs; a row for each pair.

    Kappa of ratings has quadratic weights.
    """
    rows: list[Json] = []
    scales: tuple[tuple[str, Scale], ...] = (("rating", "ordinal"), ("orientation", "nominal"))
    for field, scale in scales:
        given = {j: decisions[f"{field}[{j}]"].to_numpy(dtype=float) for j in judges}
        found = agreement(given, scale)
        values |= {
            f"judges_alpha_{field}": found.alpha,
            f"judges_kappa_{field}": found.kappa,
            f"judges_equal_rate_{field}": found.equal_rate,
        }
        rows += [{"field": field, **pair} for pair in found.pairs]
    return rows


def _by_instruction(decisions: pd.DataFrame, judges: Sequence[str]) -> list[Json]:
    rows: list[Json] = []
    for number, part in decisions.groupby(decisions["instruction"].astype(int), sort=True):
        given = [judge for judge in judges if part[f"malformed[{judge}]"].notna().any()]
        found = _estimate([_parts(part, j)["mean_score"] for j in given]) if given else (None,) * 3
        ends = ("mean_score", "mean_score_low", "mean_score_high")
        row = {"value": str(number), "n": len(part), **dict(zip(ends, found, strict=True))}
        rows.append(row)
    return rows
