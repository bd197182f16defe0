"""Balance of a question set: no option, no place and no kind of answer is right too often.

Every choice is a seeded hash of the item's id, so that the order of the source plays no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeVar

from lalm_bench import prompts
from lalm_bench.randomness import derive

T = TypeVar("T")


def ranked(items: Iterable[T], name: Callable[[T], str], seed: int, purpose: str) -> list[T]:
    """The items in an order that only their names and the seed decide."""
    return sorted(items, key=lambda item: (derive(seed, name(item), purpose), name(item)))


def most_each(sizes: Sequence[int], share: float) -> int:
    """Greatest bound on every group's size that keeps each within `share` of the sum.

    Where fewer than 1/`share` groups exist, an equal part takes the place of `share`.

    Examples
    --------
    >>> most_each([100, 100, 100, 1], 0.4)
    100
    >>> most_each([1000, 10, 10], 0.4)
    13
    >>> most_each([50, 20], 0.4)
    20
    """
    groups = [size for size in sizes if size]
    if not groups:
        return 0
    exact = max(Fraction(str(share)), Fraction(1, len(groups)))

    def fits(bound: int) -> bool:
        kept = [min(size, bound) for size in groups]
        return max(kept) <= exact * sum(kept)

    # The bounds that fit form an interval from 0: the sum grows ever slower than the bound.
    low, high = 0, max(groups)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def label(options: Sequence[Mapping[str, Any]], answer: int, place: int) -> list[dict[str, Any]]:
    """Options with labels A, B, ...; the one at index `answer` is moved to position `place`."""
    others = [option for i, option in enumerate(options) if i != answer]
    ordered = [*others[:place], options[answer], *others[place:]]
    return [{**option, "label": prompts.letter(i)} for i, option in enumerate(ordered)]
