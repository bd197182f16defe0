"""What a p value means among others: Holm for claims, Benjamini-Hochberg for exploration."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def holm(pvalues: ArrayLike) -> np.ndarray:
    """Adjusted p values that bound the chance of even one false claim in the family.

    Parameters
    ----------
    pvalues : array of float, shape (tests,)

    Returns
    -------
    array, shape (tests,)
        In the order given; below alpha where the step-down procedure rejects at alpha.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6(2).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(pvalues, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _in_order_given(stepped, order)


def benjamini_hochberg(pvalues: ArrayLike) -> np.ndarray:
    """Adjusted p values that bound the expected share of false findings among the findings.

    Parameters
    ----------
    pvalues : array of float, shape (tests,)

    Returns
    -------
    array, shape (tests,)
        In the order given.

    References
    ----------
    Benjamini and Hochberg (1995), JRSS B 57(1).

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(pvalues, dtype=float)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _in_order_given(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _in_order_given(stepped: np.ndarray, order: np.ndarray) -> np.ndarray:
    adjusted = np.empty_like(stepped)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
