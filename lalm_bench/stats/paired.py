"""Two runs on the same items: the difference, its interval, and tests that need no normality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lalm_bench.stats.intervals import Estimate, cluster_mean

# Scales that make shares of an item's 2 to 6 (or 8, 10, 12) requests whole numbers.
_SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 60)
_MOST_WORK = 200_000_000


@dataclass(frozen=True, slots=True)
class Test:
    """A two-sided p value and how it was found."""

    __test__ = False  # the name is the field's; pytest need not collect it

    p: float
    method: str


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence[object] | ArrayLike,
    confidence: float = 0.95,
) -> Estimate:
    """Mean of `second - first` on the same items, with an interval clustered by clip.

    Parameters
    ----------
    first, second : array of float, shape (items,)
    clusters : sequence of hashable, shape (items,)
    confidence : float

    Returns
    -------
    Estimate
        Student t interval with (clusters - 1) degrees of freedom.

    References
    ----------
    Miller (2024), arXiv 2411.00640: the clustered standard error of d_i = b_i - a_i. It is smaller
    than what two separate intervals suggest as far as the runs agree on what is hard.

    Examples
    --------
    >>> paired_difference([1, 1, 0, 1], [1, 0, 0, 1], [*"abcd"]).value
    -0.25
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"{len(a)} and {len(b)} values are no pairs")
    return cluster_mean(b - a, clusters, confidence)


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided McNemar p value, for items that are independent of each other.

    Parameters
    ----------
    lost, won : int
        Items that are right only in the first run, and only in the second.

    References
    ----------
    McNemar (1947), Psychometrika 12(2); exact: under no difference `lost` is binomial with 1/2.

    Examples
    --------
    >>> mcnemar(0, 5)
    0.0625
    """
    from scipy.special import bdtr

    if lost < 0 or won < 0:
        raise ValueError(f"counts cannot be negative, got {lost} and {won}")
    if lost == won:
        return 1.0
    return float(min(1.0, 2 * bdtr(min(lost, won), lost + won, 0.5)))


def sign_flip(
    differences: ArrayLike,
    clusters: Sequence[object] | ArrayLike,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> Test:
    """Test that the two runs could be exchanged within any cluster without a change.

    Parameters
    ----------
    differences : array of float, shape (items,)
        Second run minus first.
    clusters : sequence of hashable, shape (items,)
        Items of one cluster keep their signs together.
    draws, seed : int
        Where the distribution is too large to be computed exactly.

    Returns
    -------
    Test
        Exact for counts (the sums of clusters are then few whole numbers and their distribution is
        a convolution of binomials); with one item a cluster that is the exact McNemar test.

    Notes
    -----
    p = (1 + draws at least as far from 0) / (1 + draws) where it is drawn (Phipson and Smyth 2010).
    """
    sums = _cluster_sums(np.asarray(differences, dtype=float)[:, None], clusters)[:, 0]
    sums = sums[np.abs(sums) > 1e-12]
    if not len(sums):
        return Test(1.0, "nothing differs")
    for scale in _SCALES:
        whole = np.rint(sums * scale)
        if np.abs(sums * scale - whole).max() < 1e-6:
            p = _exact(whole.astype(np.int64))
            if p is not None:
                return Test(p, "exact sign-flip by cluster")
            break
    far = abs(float(sums.sum())) - 1e-9
    beyond = sum(
        int((np.abs(drawn) >= far).sum()) for drawn in _random_signs(sums[:, None], draws, seed)
    )
    return Test((1 + beyond) / (1 + draws), _drawn("sign-flip", draws, seed))


def swap_test(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence[object] | ArrayLike,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    draws: int = 2_000,
    seed: int = 0,
) -> Test:
    """The sign-flip test for a statistic of sums (an F1, a pooled error rate).

    Parameters
    ----------
    first, second : array of float, shape (items, parts)
        What an item adds to the sums of each run.
    clusters : sequence of hashable, shape (items,)
        The runs change places in whole clusters.
    statistic : callable
        Sums of shape (draws, parts) -> values of shape (draws,).
    """
    a = _cluster_sums(np.asarray(first, dtype=float), clusters)
    b = _cluster_sums(np.asarray(second, dtype=float), clusters)
    middle, half = (a + b).sum(axis=0)[None] / 2, (b - a) / 2
    half = half[np.abs(half).max(axis=1) > 1e-12]
    if not len(half):
        return Test(1.0, "nothing differs")
    observed = statistic(middle + half.sum(axis=0)) - statistic(middle - half.sum(axis=0))
    far = abs(float(observed[0])) - 1e-12
    beyond = 0
    for drawn in _random_signs(half, draws, seed):
        moved = np.abs(statistic(middle + drawn) - statistic(middle - drawn))
        beyond += int((moved >= far).sum())
    return Test((1 + beyond) / (1 + draws), _drawn("exchange", draws, seed))


def _drawn(name: str, draws: int, seed: int) -> str:
    return f"{name} by cluster, {draws} draws, seed {seed}"


def _cluster_sums(values: np.ndarray, clusters: Sequence[object] | ArrayLike) -> np.ndarray:
    """Sums of shape (clusters, columns)."""
    import pandas as pd

    codes, names = pd.factorize(np.asarray(clusters, dtype=object), use_na_sentinel=False)
    if len(codes) != len(values):
        raise ValueError(f"{len(values)} values but {len(codes)} clusters")
    columns = [np.bincount(codes, weights=c, minlength=len(names)) for c in values.T]
    return np.stack(columns, axis=1)


def _exact(sums: np.ndarray) -> float | None:
    """P(|sum of +-s| >= |sum of s|) with fair signs; None where that is too much work."""
    from scipy.special import gammaln

    sums = sums // np.gcd.reduce(sums)
    sizes, counts = np.unique(np.abs(sums), return_counts=True)
    total = int(sizes @ counts)
    if len(sizes) > 1 and total * float(sizes @ counts) > _MOST_WORK:
        return None
    # The sum is 2 T - total, T a sum of size * Binomial(count, 1/2).
    chances: np.ndarray = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        k = np.arange(count + 1)
        log = gammaln(count + 1) - gammaln(k + 1) - gammaln(count - k + 1) - count * np.log(2)
        spread = np.zeros(size * count + 1)
        spread[::size] = np.exp(log)
        chances = np.convolve(chances, spread)
    far = (abs(int(sums.sum())) + total) // 2
    if 2 * far == total:
        return 1.0
    return float(min(1.0, 2 * chances[far:].sum()))


def _random_signs(sums: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Sums with random signs, shape (block, columns), block after block.

    One random byte picks the signs of eight clusters; what those eight then sum to is looked up.
    """
    clusters, columns = sums.shape
    groups = -(-clusters // 8)
    padded = np.zeros((groups * 8, columns))
    padded[:clusters] = sums
    signs = 1.0 - 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    table = np.einsum("se,gec->gsc", signs, padded.reshape(groups, 8, columns))
    flat = table.reshape(groups * 256, columns)
    offsets = np.arange(groups) * 256
    rng = np.random.default_rng(seed)
    block = max(1, 2_000_000 // (groups * columns))
    for start in range(0, draws, block):
        count = min(block, draws - start)
        picks = rng.integers(0, 256, size=(count, groups), dtype=np.uint8) + offsets
        yield flat[picks].sum(axis=1)
