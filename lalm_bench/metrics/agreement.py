"""How far several judges agree, beyond what chance would give. Pure functions of arrays.

Ratings are numbers; NaN is a rating that was not given. What is not defined is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from lalm_bench.types import Json

Scale = Literal["nominal", "ordinal", "interval"]


@dataclass(frozen=True)
class Agreement:
    """A panel's agreement on one field.

    Parameters
    ----------
    alpha : float or None
        Krippendorff's, over all judges at once.
    kappa, equal_rate : float or None
        Means over the pairs of judges for which they are defined.
    pairs : list of dict
        One row a pair: `judges`, `n` rated by both, `equal_rate`, `kappa`.
    """

    alpha: float | None
    kappa: float | None
    equal_rate: float | None
    pairs: list[dict[str, Json]]


def alpha(ratings: ArrayLike, scale: Scale) -> float | None:
    """Krippendorff's alpha: 1 - observed / expected disagreement; 1 is perfect, 0 is chance.

    Parameters
    ----------
    ratings : array of float, shape (judges, items)
    scale : str
        How far two ratings lie apart: nominal, ordinal or interval.

    Returns
    -------
    float or None
        None where no item has two ratings, or all of those that can be paired are equal.

    References
    ----------
    Krippendorff (2011), Computing Krippendorff's Alpha-Reliability.

    Examples
    --------
    >>> round(alpha([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], "nominal"), 3)
    0.095
    """
    values = np.asarray(ratings, dtype=float)
    # An item with one rating says nothing of agreement, and must not add to the levels.
    values = values[:, (~np.isnan(values)).sum(axis=0) > 1]
    levels = np.unique(values[~np.isnan(values)])
    if len(levels) < 2:
        return None
    counts = np.stack([(values == level).sum(axis=0) for level in levels], axis=1).astype(float)
    rated = counts.sum(axis=1)
    # Ordered pairs of ratings within an item, each item weighing as much as it has ratings.
    pairs = (counts / (rated - 1)[:, None]).T @ counts
    pairs -= np.diag((counts / (rated - 1)[:, None]).sum(axis=0))
    margins = counts.sum(axis=0)
    expected = np.outer(margins, margins) / (margins.sum() - 1)
    apart = _distances(levels, margins, scale)
    return 1 - float((pairs * apart).sum() / (expected * apart).sum())


def _distances(
    levels: NDArray[np.float64], margins: NDArray[np.float64], scale: Scale
) -> NDArray[np.float64]:
    """Squared distance of each two levels; ordinal ones by the ratings that lie between."""
    if scale == "nominal":
        return 1.0 - np.eye(len(levels))
    places = levels if scale == "interval" else np.cumsum(margins) - margins / 2
    squared: NDArray[np.float64] = np.subtract.outer(places, places) ** 2
    return squared


def equal_rate(first: ArrayLike, second: ArrayLike) -> float | None:
    """Share of equal ratings among the items that both judges rated."""
    a, b = _both(first, second)
    return float((a == b).mean()) if len(a) else None


def nominal_kappa(first: ArrayLike, second: ArrayLike) -> float | None:
    """Cohen's kappa (1960) of two judges' codes.

    Examples
    --------
    >>> nominal_kappa([0, 0, 1, 1], [0, 1, 1, 1])
    0.5
    """
    a, b = _both(first, second)
    if not len(a):
        return None
    chance = sum(float((a == code).mean() * (b == code).mean()) for code in np.union1d(a, b))
    return None if _constant(a, b) else (float((a == b).mean()) - chance) / (1 - chance)


def weighted_kappa(first: ArrayLike, second: ArrayLike) -> float | None:
    """Cohen's kappa with quadratic weights between two judges' ratings.

    Quadratic weights are proportional to squared differences, so no table of levels is needed and
    ratings may lie between levels:
    1 - mean((a - b)^2) / (var(a) + var(b) + (mean(a) - mean(b))^2).

    References
    ----------
    Cohen (1968), Psychological Bulletin 70(4). The form without a table is that of Lin's
    concordance correlation (1989), which it equals.

    Examples
    --------
    >>> weighted_kappa([0, 1, 2], [0, 1, 2])
    1.0
    """
    a, b = _both(first, second)
    if not len(a) or _constant(a, b):
        return None
    expected = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return 1 - float(((a - b) ** 2).mean() / expected)


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Rank correlation, ties sharing their mean rank; None where one side does not vary.

    Examples
    --------
    >>> spearman([1, 2, 3], [10, 20, 15])
    0.5
    """
    import pandas as pd

    a, b = _both(first, second)
    if len(np.unique(a)) < 2 or len(np.unique(b)) < 2:
        return None
    return float(np.corrcoef(pd.Series(a).rank(), pd.Series(b).rank())[0, 1])


def agreement(ratings: Mapping[str, ArrayLike], scale: Scale) -> Agreement:
    """Agreement of a panel: over all judges at once, and by pairs.

    Parameters
    ----------
    ratings : mapping
        Judge -> its ratings, shape (items,); two judges or more.
    scale : str
        Kappa has quadratic weights unless this is nominal.
    """
    kappa = nominal_kappa if scale == "nominal" else weighted_kappa
    values = {judge: np.asarray(given, dtype=float) for judge, given in ratings.items()}
    pairs: list[dict[str, Json]] = []
    equals, kappas = [], []
    for one, other in combinations(values, 2):
        a, b = values[one], values[other]
        equals.append(equal_rate(a, b))
        kappas.append(kappa(a, b))
        pairs.append(
            {
                "judges": [one, other],
                "n": len(_both(a, b)[0]),
                "equal_rate": equals[-1],
                "kappa": kappas[-1],
            }
        )
    return Agreement(alpha([*values.values()], scale), _mean(kappas), _mean(equals), pairs)


def _both(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    known = ~np.isnan(a) & ~np.isnan(b)
    return a[known], b[known]


def _constant(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether both judges said one and the same thing of every item."""
    return bool((a == a[0]).all() and (b == a[0]).all())


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
