"""Percentile bootstrap over clusters, for statistics that are functions of sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

_BLOCK = 4_000_000


def cluster_interval(
    parts: ArrayLike,
    clusters: Sequence[object] | ArrayLike,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float | None, float | None]:
    """Interval of a statistic of summed parts, clusters drawn with replacement.

    Parameters
    ----------
    parts : array, shape (items, parts)
        What an item adds to the sums, e.g. its word errors and its words.
    clusters : sequence, shape (items,)
        Items with one name are drawn together.
    statistic : callable
        Sums of shape (replicates, parts) -> values of shape (replicates,); NaN where undefined.
    seed : int
        Fixed, so that scoring again gives the same interval.

    Returns
    -------
    tuple of float or None
        None below two clusters.

    References
    ----------
    Efron and Tibshirani (1993), chapter 13 (percentile interval), with clusters as units.
    """
    import pandas as pd

    codes, names = pd.factorize(np.asarray(clusters, dtype=object), use_na_sentinel=False)
    if len(names) < 2:
        return None, None
    values = np.asarray(parts, dtype=float)
    sums = np.stack(
        [np.bincount(codes, weights=column, minlength=len(names)) for column in values.T], axis=1
    )
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // len(names))
    drawn = []
    for start in range(0, replicates, block):
        count = min(block, replicates - start)
        picks = rng.integers(0, len(names), size=(count, len(names)))
        offsets = np.arange(count)[:, None] * len(names)
        times = np.bincount((picks + offsets).ravel(), minlength=count * len(names))
        drawn.append(statistic(times.reshape(count, len(names)) @ sums))
    found = np.concatenate(drawn)
    found = found[~np.isnan(found)]
    if not len(found):
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)
