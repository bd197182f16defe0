"""How many items a difference needs, which difference a number of items shows, and curve areas."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


def items_needed(
    stderr: float, n: int, difference: float, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Items at which a paired difference is found with probability `power`, two-sided at `alpha`.

    Parameters
    ----------
    stderr : float
        Standard error of the paired difference over `n` items, clustered where they are: then the
        answer holds for items that share clips as these do.
    n : int
    difference : float
        In the unit of `stderr`, not 0.

    Returns
    -------
    int or None
        None where no variance was observed.

    References
    ----------
    Miller (2024), arXiv 2411.00640: n = (z_{alpha/2} + z_beta)^2 omega^2 / delta^2, with omega^2
    the variance of an item's paired difference; here n stderr^2, as observed.

    Examples
    --------
    >>> items_needed(0.02, 1000, 0.05)
    1256
    """
    if difference == 0:
        raise ValueError("a difference of 0 cannot be found with any number of items")
    if stderr <= 0:
        return None
    return math.ceil((_quantiles(power, alpha) * stderr / difference) ** 2 * n)


def smallest_difference(stderr: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Difference that these items find with probability `power`; the inverse of `items_needed`.

    Examples
    --------
    >>> round(smallest_difference(0.02), 4)
    0.056
    """
    return _quantiles(power, alpha) * stderr


def _quantiles(power: float, alpha: float) -> float:
    from scipy.special import ndtri

    if not (0 < power < 1 and 0 < alpha < 1):
        raise ValueError(f"power={power} and alpha={alpha} must lie between 0 and 1")
    return float(ndtri(1 - alpha / 2) + ndtri(power))


def area_weights(levels: ArrayLike) -> np.ndarray:
    """Weights that turn values at these levels into the area below them over the range of levels.

    The area is then a mean of values, whose interval follows from the items' own values.

    Parameters
    ----------
    levels : array of float, shape (levels,)
        Two or more, rising.

    Returns
    -------
    array, shape (levels,)
        Trapezoidal rule divided by the range; sums to 1.

    Examples
    --------
    >>> area_weights([0, 1, 3]).round(3).tolist()
    [0.167, 0.5, 0.333]
    """
    x = np.asarray(levels, dtype=float)
    steps = np.diff(x)
    if len(x) < 2 or (steps <= 0).any():
        raise ValueError(f"need two or more rising levels, got {x.tolist()}")
    weights = np.zeros(len(x))
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    return np.asarray(weights / (x[-1] - x[0]))
