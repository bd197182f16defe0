"""Where masked samples lie. Each rule chooses `count` of `length` samples, as spans [start, end).

All but the published one are nested: with the same draw, the samples chosen for a larger count
contain those of a smaller one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Spans = Iterator[tuple[int, int]]


def scattered(length: int, count: int, segment: int, rng: np.random.Generator) -> Spans:
    """Segments of `segment` samples, one after the other in random order; the last one in part."""
    for start in rng.permutation(np.arange(0, length, segment)).tolist():
        if count <= 0:
            return
        end = min(start + segment, start + count, length)
        yield start, end
        count -= end - start


def around(length: int, count: int, centre: int) -> tuple[int, int]:
    """One block that grows from `centre` to both sides, and past an edge to the other side only.

    Examples
    --------
    >>> [around(10, n, 1) for n in (1, 2, 3, 5)]
    [(1, 2), (0, 2), (0, 3), (0, 5)]
    """
    start = max(0, min(centre - count // 2, length - count))
    return start, start + count


def even(length: int, count: int, slots: int) -> Spans:
    """One block in the middle of each of `slots` equal slots; blocks differ by a sample at most."""
    slots = max(1, min(slots, length))
    size, larger = divmod(length, slots)
    block, longer = divmod(count, slots)
    start = 0
    for slot in range(slots):
        room = size + (slot < larger)
        first, last = around(room, block + (slot < longer), room // 2)
        if last > first:
            yield start + first, start + last
        start += room


def published(length: int, count: int, second: int) -> Spans:
    """Even blocks of about a second, as many as there are whole seconds to mask (at least one).

    On the published 5 s examples at 20 to 80 % these are their blocks of 1.0 s, to the sample of
    rounding. How many blocks clips of other lengths had is not published; here the blocks stretch
    or shrink so that exactly `count` samples are chosen.
    """
    return even(length, count, max(1, round(count / second)))
