"""What the synthetic families ask: wording, options, and how answers are spread over the items.

The wording is published protocol (TACoBeLAL, MCQ-SYNTH) and is quoted unchanged.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from dataclasses import dataclass
from functools import lru_cache

from lalm_bench.errors import ConfigError

LEVELS = ("easy", "medium", "hard")


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of question.

    Parameters
    ----------
    name : str
    questions : tuple of (template id, question)
    options : tuple of (key, text)
        In base order; the key is what the answer *means*, whatever label it gets.
    kind : str
        Option type of the published records.
    levels : tuple of str
        Difficulties that exist.
    """

    name: str
    questions: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    kind: str = "event"
    levels: tuple[str, ...] = ("easy",)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one item is laid out, all as positions in the family's base lists."""

    template: int
    answer: int
    order: tuple[int, ...]


def _order_family(name: str, template: str, noun: str, first: str, second: str) -> Family:
    question = f"You will hear a {first} {noun} and a {second} {noun}. Which one happened first?"
    options = tuple((key, f"the {key} {noun}") for key in (first, second))
    return Family(name, ((template, question),), options)


_NTH = (
    ("first", "the first sound"),
    ("second", "the second sound"),
    ("third", "the third sound"),
)

_TRIVIAL = (
    _order_family("pitch_order_trivial", "high_vs_low_first", "beep", "high", "low"),
    _order_family("loudness_order_trivial", "loud_vs_quiet_first", "beep", "loud", "quiet"),
    _order_family("duration_order_trivial", "long_vs_short_first", "beep", "long", "short"),
    Family(
        "count_beeps_trivial",
        (("count_beeps", "How many beeps did you hear?"),),
        (("one", "one beep"), ("two", "two beeps"), ("three", "three beeps")),
        "count",
    ),
    Family(
        "gap_trivial",
        (("short_vs_long_pause", "Was the pause between the two beeps short or long?"),),
        (("short", "a short pause"), ("long", "a long pause")),
        "gap",
    ),
    Family(
        "pattern_pitch_trivial",
        (("pitch_pattern", "Which pattern did you hear?"),),
        (("high_low_high", "high-low-high"), ("low_high_low", "low-high-low")),
        "pattern",
    ),
    _order_family("dog_car_order_trivial", "dog_vs_car_first", "sound", "dog", "car"),
)

_RICHER = (
    Family(
        "time",
        (
            ("starts_first", "Which sound starts first?"),
            ("starts_last", "Which sound starts last?"),
            ("longest_duration", "Which sound lasts the longest?"),
            ("shortest_duration", "Which sound lasts the shortest time?"),
        ),
        (
            ("sine", "the sine tone"),
            ("triangle", "the triangle tone"),
            ("square", "the square tone"),
        ),
        levels=LEVELS,
    ),
    Family(
        "pitch",
        (
            ("highest_pitch", "Which sound has the highest pitch?"),
            ("lowest_pitch", "Which sound has the lowest pitch?"),
        ),
        _NTH,
        levels=LEVELS,
    ),
    Family(
        "loudness",
        (
            ("loudest", "Which sound is the loudest?"),
            ("quietest", "Which sound is the quietest?"),
        ),
        _NTH,
        levels=LEVELS,
    ),
    Family(
        "rhythm",
        (("more_beeps", "Which burst contains more beeps?"),),
        (("first", "the first burst"), ("second", "the second burst")),
        levels=LEVELS,
    ),
)

TRIVIAL = tuple(f.name for f in _TRIVIAL)
RICHER = tuple(f.name for f in _RICHER)
FAMILIES = {f.name: f for f in (*_TRIVIAL, *_RICHER)}


def find(name: str) -> Family:
    """The family of that name; ConfigError lists the known ones."""
    try:
        return FAMILIES[name]
    except KeyError:
        known = ", ".join(FAMILIES)
        raise ConfigError(f"task.families: no family {name!r}; known are {known}") from None


def scene_seed(seed: int, *names: object) -> int:
    """First 64 bits of SHA-256 over the parts joined by `::`, the published rule.

    Examples
    --------
    >>> scene_seed(7, "pitch", "easy", 0) == scene_seed(7, "pitch", "easy", 0)
    True
    """
    text = "::".join(map(str, (seed, *names)))
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)


def balanced_plan(family: str, difficulty: str, index: int, seed: int) -> Plan:
    """Template, answer and option order of a scene, exactly balanced over every full block.

    A block holds each combination of template, answer and option order once, so that neither a
    label, nor an option's meaning, nor both together can be guessed. The order inside a block is
    drawn, so that the answers follow no fixed cycle.
    """
    block, place = divmod(index, block_size(family))
    return _block(family, difficulty, seed, block)[place]


def block_size(family: str) -> int:
    """Items after which templates, answers and option orders are exactly balanced."""
    chosen = FAMILIES[family]
    count = len(chosen.options)
    return len(chosen.questions) * count * math.factorial(count)


@lru_cache(maxsize=256)
def _block(family: str, difficulty: str, seed: int, block: int) -> list[Plan]:
    plans = list(_combinations(family))
    random.Random(scene_seed(seed, family, difficulty, "block", block)).shuffle(plans)  # noqa: S311
    return plans


@lru_cache(maxsize=16)
def _combinations(family: str) -> tuple[Plan, ...]:
    chosen = FAMILIES[family]
    every = range(len(chosen.options))
    return tuple(
        Plan(template, answer, order)
        for template in range(len(chosen.questions))
        for answer in every
        for order in itertools.permutations(every)
    )
