"""From a level between 0 and 1 to a number of sentences or words."""

from __future__ import annotations

import math


def nearest(level: float, total: int) -> int:
    """`level * total` to the nearest whole number, halves up; grows with the level.

    Examples
    --------
    >>> [nearest(level, 3) for level in (0, 0.2, 0.5, 1)]
    [0, 1, 2, 3]
    """
    return math.floor(level * total + 0.5)


def floor(level: float, total: int) -> int:
    """`level * total` without its fraction, exact where the level is a decimal.

    Examples
    --------
    >>> int(0.29 * 100), floor(0.29, 100)
    (28, 29)
    """
    return math.floor(level * total + 1e-9)
