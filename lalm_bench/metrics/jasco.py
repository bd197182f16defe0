"""JASCO's two tables: the best of eight answers, and which modality answers lean on.

Wang et al. (2024), arXiv 2409.14526, as the published script computes them: a rating counts only
where the judge finds the answer to rest on both modalities.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lalm_bench.metrics.bootstrap import cluster_interval
from lalm_bench.parsing.jasco import ORIENTATIONS
from lalm_bench.types import Json, Metrics

if TYPE_CHECKING:
    import pandas as pd

HEADLINE = ("best_mean", "audio_dependence", "both_dependence", "speech_dependence")


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


def dependence(orientation: ArrayLike) -> dict[str, float | None]:
    """Shares of audio, speech and both; neither and unknown are left out of the denominator."""
    codes = np.asarray(orientation, dtype=float)
    counts = {name: int((codes == ORIENTATIONS.index(name)).sum()) for name in ORIENTATIONS[:3]}
    total = sum(counts.values())
    return {name: count / total if total else None for name, count in counts.items()}


def weighted_kappa(first: ArrayLike, second: ArrayLike, levels: int = 3) -> float | None:
    """Cohen's kappa with quadratic weights between two judges' whole-number ratings.

    None where it is not defined (no rating in common, or both always give the same one).

    Examples
    --------
    >>> weighted_kappa([0, 1, 2], [0, 1, 2])
    1.0
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    known = ~np.isnan(a) & ~np.isnan(b)
    table = np.zeros((levels, levels))
    np.add.at(table, (a[known].astype(int), b[known].astype(int)), 1)
    total = table.sum()
    if not total:
        return None
    weight = (np.subtract.outer(np.arange(levels), np.arange(levels)) / (levels - 1)) ** 2
    chance = np.outer(table.sum(1), table.sum(0)) / total
    expected = float((weight * chance).sum())
    return 1 - float((weight * table).sum()) / expected if expected else None


def summarise(decisions: pd.DataFrame, judges: Sequence[str]) -> Metrics:
    """Both tables, per judge and as the mean over judges, which is the published number.

    Parameters
    ----------
    decisions : DataFrame
        One row an answer: `id`, `instruction` (1 to 8), and for each judge `rating[<judge>]`,
        `orientation[<judge>]` and `malformed[<judge>]` (NaN where the answer was not judged).
    judges : sequence of str
        None: the tables are empty and say why.

    Notes
    -----
    `best_mean` takes each item's best of the instructions that were judged. A maximum over eight
    noisy ratings is biased upwards; `mean_score` is not. The interval resamples items.
    """
    if not len(decisions):
        return Metrics({"n": 0, **dict.fromkeys(HEADLINE)}, {}, HEADLINE)
    items = decisions["id"].nunique()
    values: dict[str, float | int | None] = {
        "n": items,
        "n_clusters": items,
        "n_answers": len(decisions),
    }
    analysis: dict[str, Json] = {}
    found = [_judge(decisions, judge) for judge in judges]
    judged = [(j, v, best) for j, (v, best) in zip(judges, found, strict=True) if len(best)]
    names = (*HEADLINE, "mean_score", "neither_rate", "malformed_rate", "judged_rate")
    for name in names:
        known = [v[name] for _, v, _ in judged if v[name] is not None]
        values[name] = float(np.mean(known)) if known else None  # type: ignore[arg-type]
    if not judged:
        reason = (
            "no verdict in task.verdicts has an id and a prompt that was asked"
            if judges
            else "needs verdicts: judged CSV files in task.verdicts"
        )
        return Metrics(values, {"not_computed": dict.fromkeys(HEADLINE, reason)}, HEADLINE)
    low, high = _interval([best for _, _, best in judged])
    values |= {
        "best_mean_bootstrap_low": low,
        "best_mean_bootstrap_high": high,
        **_agreement(decisions, judges),
    }
    if len(judged) > 1:
        values |= {f"{name}[{j}]": v[name] for j, v, _ in judged for name in HEADLINE}
    analysis["by_judge"] = [{"value": judge, **v} for judge, v, _ in judged]
    analysis["by_instruction"] = _by_instruction(decisions, [judge for judge, _, _ in judged])
    return Metrics(values, analysis, HEADLINE)


def _judge(decisions: pd.DataFrame, judge: str) -> tuple[dict[str, float | None], pd.Series[float]]:
    """One judge's row of both tables, and each item's best score."""
    rows = decisions[decisions[f"malformed[{judge}]"].notna()]
    orientation = rows[f"orientation[{judge}]"]
    score = rows.assign(score=scores(rows[f"rating[{judge}]"], orientation))
    best = score.groupby("id")["score"].max()
    shares = dependence(orientation)
    n = len(rows)
    values: dict[str, float | None] = {
        "best_mean": float(best.mean()) if n else None,
        **{f"{name}_dependence": shares[name] for name in ("audio", "both", "speech")},
        "mean_score": float(score["score"].mean()) if n else None,
        "neither_rate": float((orientation == ORIENTATIONS.index("neither")).mean()) if n else None,
        "malformed_rate": float(rows[f"malformed[{judge}]"].mean()) if n else None,
        "judged_rate": n / len(decisions),
    }
    return values, best


def _interval(best: Sequence[pd.Series[float]]) -> tuple[float | None, float | None]:
    """95 % percentile bootstrap over items of the mean over judges."""
    import pandas as pd

    per_item = pd.concat(list(best), axis=1).mean(axis=1)
    parts = np.column_stack([per_item, np.ones(len(per_item))])
    return cluster_interval(
        parts, per_item.index.to_numpy(), lambda sums: sums[:, 0] / sums[:, 1], replicates=2000
    )


def _agreement(decisions: pd.DataFrame, judges: Sequence[str]) -> dict[str, float | None]:
    """Mean over pairs of judges: share of equal ratings, and weighted kappa."""
    equal, kappas = [], []
    for one, other in combinations(judges, 2):
        a, b = (decisions[f"rating[{j}]"].to_numpy(dtype=float) for j in (one, other))
        known = ~np.isnan(a) & ~np.isnan(b)
        if known.any():
            equal.append(float((a[known] == b[known]).mean()))
        if (kappa := weighted_kappa(a, b)) is not None:
            kappas.append(kappa)
    if len(judges) < 2:
        return {}
    return {
        "judges_equal_rate": float(np.mean(equal)) if equal else None,
        "judges_kappa": float(np.mean(kappas)) if kappas else None,
    }


def _by_instruction(decisions: pd.DataFrame, judges: Sequence[str]) -> list[Json]:
    rows: list[Json] = []
    for number, part in decisions.groupby(decisions["instruction"].astype(int), sort=True):
        means = [_judge(part, judge)[0]["mean_score"] for judge in judges]
        known = [m for m in means if m is not None]
        mean = float(np.mean(known)) if known else None
        rows.append({"value": str(number), "n": len(part), "mean_score": mean})
    return rows
