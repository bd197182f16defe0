"""Intervals for means of per-item scores. Pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error and 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    stderr: float | None
    n: int


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion of independent trials.

    Parameters
    ----------
    successes : float
        Number of successes, 0 to `n`.
    n : int
        Number of trials, at least 1.
    confidence : float

    References
    ----------
    Wilson (1927), JASA 22(158), eq. for the roots of the score test.

    Examples
    --------
    >>> [round(x, 4) for x in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"need 0 <= successes <= n and n >= 1, got {successes} of {n}")
    z = _normal_quantile(0.5 + confidence / 2)
    share = float(successes) / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    # Exact at the ends, where rounding would put the bound on the wrong side of the proportion.
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == n else centre + half


def cluster_mean(
    scores: ArrayLike, clusters: Sequence[object] | ArrayLike, confidence: float = 0.95
) -> Estimate:
    """Mean with a standard error that allows for items sharing a clip, speaker or scene.

    Parameters
    ----------
    scores : array of float, shape (items,)
    clusters : sequence of hashable, shape (items,)
    confidence : float

    Returns
    -------
    Estimate
        Student t interval with (clusters - 1) degrees of freedom; no interval below two clusters.

    References
    ----------
    Miller (2024), arXiv 2411.00640, clustered standard error:
    SE_c^2 = SE^2 + (1/n^2) sum over clusters and pairs i != j of (s_i - m)(s_j - m).

    Examples
    --------
    >>> cluster_mean([1, 1, 0, 0], ["a", "a", "b", "b"]).stderr > cluster_mean(
    ...     [1, 1, 0, 0], [1, 2, 3, 4]).stderr
    True
    """
    values = np.asarray(scores, dtype=float)
    n = len(values)
    if n != len(clusters):  # type: ignore[arg-type]
        raise ValueError(f"{n} scores but {len(clusters)} clusters")  # type: ignore[arg-type]
    if n == 0:
        return Estimate(None, None, None, None, 0)
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean, None, None, None, 1)
    import pandas as pd

    deviation = values - mean
    codes, names = pd.factorize(np.asarray(clusters, dtype=object), use_na_sentinel=False)
    sums = np.bincount(codes, weights=deviation, minlength=len(names))
    squares = float(deviation @ deviation)
    cross_pairs = float(sums @ sums) - squares
    variance = squares / (n - 1) / n + cross_pairs / (n * n)
    stderr = math.sqrt(max(variance, 0.0))
    if len(names) < 2:
        return Estimate(mean, None, None, None, n)
    half = _t_quantile(0.5 + confidence / 2, len(names) - 1) * stderr
    return Estimate(mean, mean - half, mean + half, stderr, n)


def chance_corrected(accuracy: float, chance: float) -> float | None:
    """(accuracy - chance) / (1 - chance): 0 at chance, 1 when perfect; None when chance is 1."""
    return None if chance >= 1 else (accuracy - chance) / (1 - chance)


def entropy_bits(counts: ArrayLike) -> float:
    """Shannon entropy of a distribution given as counts, in bits.

    Examples
    --------
    >>> entropy_bits([5, 5])
    1.0
    """
    weights = np.asarray(counts, dtype=float)
    weights = weights[weights > 0]
    if not len(weights):
        return 0.0
    shares = weights / weights.sum()
    return abs(float(-(shares * np.log2(shares)).sum()))


def _normal_quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))


def _t_quantile(p: float, degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, p))
