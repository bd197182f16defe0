"""In which order an item's options are shown, so that a preference for a place can be seen.

Labels stay where they are and texts move: the first option is always the item's first label. What
is right follows its text. An option whose text speaks of other options by place or letter ("all of
the above", "both A and B") would change its meaning, so such an item keeps its order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lalm_bench.errors import ConfigError
from lalm_bench.randomness import derive
from lalm_bench.types import Choice, Sample

MODES = ("fixed", "shuffled", "circular")

_BY_PLACE = re.compile(
    r"\bof the (?:above|below|previous|preceding)(?= (?:options?|choices?|answers?)\b|\W*$)"
    r"|\b(?:options?|choices?|answers?) (?:above|below)\b"
    r"|\b(?:both|either|neither|options?|choices?|answers?) \(?[A-H]\)?(?= (?:and|or|nor|&)|\W*$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One order of an item's options.

    Parameters
    ----------
    variant : str
        Names the request that shows it; empty for the item's own order.
    order : tuple of int
        Place -> index of the option that stands there.
    """

    variant: str
    order: tuple[int, ...]

    def shown(self, choices: Sequence[Choice]) -> tuple[Choice, ...]:
        """The options as they are shown.

        Examples
        --------
        >>> Arrangement("rotation=1", (1, 0)).shown([Choice("A", "cat"), Choice("B", "dog")])
        (Choice(label='A', text='dog'), Choice(label='B', text='cat'))
        """
        if not self.variant:
            return tuple(choices)
        return tuple([Choice(choices[p].label, choices[i].text) for p, i in enumerate(self.order)])


def check(mode: str) -> None:
    """ConfigError unless `mode` is fixed, shuffled or circular."""
    if mode not in MODES:
        raise ConfigError(f"task.options={mode} must be one of {', '.join(MODES)}")


def arrangements(mode: str, sample: Sample, seed: int) -> tuple[Arrangement, ...]:
    """The orders in which an item is asked.

    Parameters
    ----------
    mode : str
        `fixed`: its own. `shuffled`: one drawn from (seed, item id). `circular`: every rotation,
        so that each option stands at each place once (Liu et al., 2024, MMBench, CircularEval).
    sample : Sample
    seed : int
    """
    n = len(sample.choices)
    if mode == "fixed" or n < 2 or bound_to_order(tuple([c.text for c in sample.choices])):
        return (_own(n),)
    if mode == "shuffled":
        # Ranks of hashes: no generator, so the draw is the same in every version of Python.
        ranks = [derive(seed, sample.id, "option order", str(i)) for i in range(n)]
        return (Arrangement("shuffled", tuple(sorted(range(n), key=ranks.__getitem__))),)
    return _rotations(n)


@lru_cache(maxsize=4096)
def bound_to_order(texts: tuple[str, ...]) -> bool:
    """Whether an option speaks of other options by their place or letter.

    Examples
    --------
    >>> bound_to_order(("a dog", "none of the above"))
    True
    >>> bound_to_order(("above the listener", "none of the speakers", "D and A"))
    False
    """
    return any(_BY_PLACE.search(text) for text in texts)


@lru_cache(maxsize=256)
def _own(n: int) -> Arrangement:
    return Arrangement("", tuple(range(n)))


@lru_cache(maxsize=256)
def _rotations(n: int) -> tuple[Arrangement, ...]:
    return tuple(
        Arrangement(f"rotation={k}", tuple((p + k) % n for p in range(n))) for k in range(n)
    )
