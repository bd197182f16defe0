"""Which values lie far below the others, by median and MAD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

# The standard deviation of a normal distribution over its median and mean absolute deviation.
_MAD, _MEAN_AD = 1.482602, 1.253314
NO_SPREAD, MAD, MEAN_AD = "no spread", "MAD", "mean absolute deviation"


@dataclass(frozen=True)
class Low:
    """Values far below the median of all.

    Parameters
    ----------
    z : array of float, shape (values,)
        Robust standard deviations from the median; 0 everywhere without spread.
    outliers : array of bool, shape (values,)
    median, scale, limit : float
        A value below `limit` = `median` - far x `scale` is an outlier.
    spread : str
        Which spread `scale` was taken from.
    """

    z: np.ndarray
    outliers: np.ndarray
    median: float
    scale: float
    limit: float
    spread: str


def low(values: ArrayLike, far: float = 3.5) -> Low:
    """Find values that lie `far` robust standard deviations below the median.

    Parameters
    ----------
    values : array of float, shape (values,)
        At least one.
    far : float

    Notes
    -----
    The scale is 1.4826 MAD. Where so many values equal the median that the MAD is 0, the
    scale is 1.2533 times the mean absolute deviation from the median instead.

    References
    ----------
    Iglewicz and Hoaglin (1993), How to Detect and Handle Outliers: modified z-scores, cut at 3.5.

    Examples
    --------
    >>> low([0.4, 0.5, 0.5, 0.6, 0.7, -0.1]).outliers.tolist()
    [False, False, False, False, False, True]
    """
    found = np.asarray(values, dtype=float)
    middle = float(np.median(found))
    away = np.abs(found - middle)
    scale, spread = _MAD * float(np.median(away)), MAD
    if not scale:
        scale, spread = _MEAN_AD * float(away.mean()), MEAN_AD
    if not scale:
        nothing = np.zeros(len(found))
        return Low(nothing, nothing.astype(bool), middle, 0.0, middle, NO_SPREAD)
    z = (found - middle) / scale
    return Low(z, z < -far, middle, scale, middle - far * scale, spread)
