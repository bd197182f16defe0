"""The published construction of the synthetic scenes, faults included (`compat: true`).

The seven trivial families are fixed by what is published down to the sample, dog and car apart:
the original's recordings do not exist, ours are computed. For the four richer families the rules
are published but not the sequence in which the original drew its random numbers, so those scenes
follow the same distributions without being the same scenes.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from lalm_bench.tasks.synthetic.catalogue import FAMILIES, Plan, scene_seed
from lalm_bench.tasks.synthetic.scene import (
    DURATION_STEP_S,
    LEVEL_STEP_DB,
    PAUSE_FLOOR_S,
    PIP_S,
    SEMITONE_STEP,
    WINDOW_S,
    Event,
    Scene,
    count_pairs,
    hertz,
)

Drawn = list[Any]

_TAIL_S = 0.40
_BEEP_S = 0.15
_DURATIONS_S = (0.28, 0.40, 0.52, 0.64, 0.76, 0.88, 1.00, 1.12)
_PAUSES_S = (0.18, 0.25, 0.32, 0.40, 0.48, 0.56, 0.64, 0.72, 0.80)


def published_plan(family: str, difficulty: str, index: int, seed: int, item: str) -> Plan:
    """Layout of an item: answers cycle, templates cycle, options sorted by SHA-256.

    `item` is the item's id: the option order depends on it.
    """
    chosen = FAMILIES[family]
    digests = [
        hashlib.sha256(f"{seed}:{item}:{k}:{key}".encode()).hexdigest()
        for k, (key, _) in enumerate(chosen.options)
    ]
    order = tuple(sorted(range(len(digests)), key=digests.__getitem__))
    if family in _TRIVIAL:
        return Plan(0, index % len(chosen.options), order)
    return Plan(index % len(chosen.questions), _draw(family, difficulty, index, seed)[1], order)


def published_scene(family: str, difficulty: str, index: int, seed: int) -> Scene:
    """The sounds of a scene."""
    if family in _TRIVIAL:
        return _TRIVIAL[family](index % len(FAMILIES[family].options))
    return _RICHER[family][1](_draw(family, difficulty, index, seed)[0])


def _draw(family: str, difficulty: str, index: int, seed: int) -> tuple[Drawn, int]:
    """What a richer scene is made of, and its answer as a position in the base options."""
    rng = random.Random(scene_seed(seed, family, difficulty, index))  # noqa: S311
    return _RICHER[family][0](rng, difficulty, index % len(FAMILIES[family].questions))


def _beep(key: str, onset: float, duration: float = _BEEP_S, hz: float = 440.0) -> Event:
    return Event(key, "sine", round(onset, 3), duration, hz)


def _padded(events: list[Event], **facts: object) -> Scene:
    return Scene(round(events[-1].offset + _TAIL_S, 3), tuple(events), facts=facts)


def _pitch_order(answer: int) -> Scene:
    keys = ("high", "low") if answer == 0 else ("low", "high")
    return _padded([_beep(k, t, hz=_HZ[k]) for k, t in zip(keys, (0.5, 2.0), strict=True)])


def _loudness_order(answer: int) -> Scene:
    keys = ("loud", "quiet") if answer == 0 else ("quiet", "loud")
    level = {"loud": -6.0, "quiet": -24.0}
    beeps = zip(keys, (0.5, 2.0), strict=True)
    return _padded([replace(_beep(k, t), dbfs=level[k]) for k, t in beeps])


def _duration_order(answer: int) -> Scene:
    keys = ("long", "short") if answer == 0 else ("short", "long")
    length = {"long": 1.0, "short": 0.1}
    return _padded([_beep(k, t, length[k]) for k, t in zip(keys, (0.5, 2.0), strict=True)])


def _count(answer: int) -> Scene:
    count, total, pause = answer + 1, 4.3, 1.0
    first = (total - count * _BEEP_S - (count - 1) * pause) / 2
    beeps = tuple(_beep("beep", first + k * (_BEEP_S + pause)) for k in range(count))
    return Scene(total, beeps, facts={"count": count})


def _gap(answer: int) -> Scene:
    pause = (0.2, 2.0)[answer]
    return _padded([_beep("beep", 0.5), _beep("beep", 0.5 + _BEEP_S + pause)], gap_seconds=pause)


def _pattern(answer: int) -> Scene:
    keys = ("high", "low", "high") if answer == 0 else ("low", "high", "low")
    beeps = [_beep(k, t, hz=_HZ[k]) for k, t in zip(keys, (0.5, 1.5, 2.5), strict=True)]
    return _padded(beeps, pattern="_".join(keys))


def _dog_car(answer: int) -> Scene:
    dog = Event("dog", "bark", 0.5, 0.45, 300.0, 0.0, seed=7)
    car = Event("car", "horn", 0.5, 0.60, 392.0, 0.0)
    first, second = (dog, car) if answer == 0 else (car, dog)
    return _padded([first, replace(second, onset=round(first.offset + 1.5, 3))])


_HZ = {"high": 880.0, "low": 220.0}
_TRIVIAL: dict[str, Callable[[int], Scene]] = {
    "pitch_order_trivial": _pitch_order,
    "loudness_order_trivial": _loudness_order,
    "duration_order_trivial": _duration_order,
    "count_beeps_trivial": _count,
    "gap_trivial": _gap,
    "pattern_pitch_trivial": _pattern,
    "dog_car_order_trivial": _dog_car,
}


def _draw_time(rng: random.Random, difficulty: str, template: int) -> tuple[Drawn, int]:
    shapes = [key for key, _ in FAMILIES["time"].options]
    base = tuple(shapes)
    rng.shuffle(shapes)
    lengths = rng.choice(_triples(_DURATIONS_S, DURATION_STEP_S[difficulty]))
    pauses = [max(p, PAUSE_FLOOR_S[difficulty]) for p in rng.sample(_PAUSES_S, 2)]
    drawn = list(zip(shapes, lengths, (*pauses, 0.0), strict=True))
    return drawn, base.index(shapes[(0, 2, 2, 0)[template]])


def _lay_time(drawn: Drawn) -> Scene:
    events, onset = [], 0.4
    for shape, length, pause in drawn:
        events.append(Event(shape, shape, round(onset, 3), length, 440.0))
        onset += length + pause
    return _padded(events)


def _draw_pitch(rng: random.Random, difficulty: str, template: int) -> tuple[Drawn, int]:
    return _draw_three(rng, _triples(tuple(range(48, 85)), SEMITONE_STEP[difficulty]), template)


def _lay_pitch(notes: Drawn) -> Scene:
    return _row([hertz(note) for note in notes], [-18.0] * 3)


def _draw_loudness(rng: random.Random, difficulty: str, template: int) -> tuple[Drawn, int]:
    return _draw_three(rng, _triples(tuple(range(-30, -7)), LEVEL_STEP_DB[difficulty]), template)


def _lay_loudness(levels: Drawn) -> Scene:
    return _row([440.0] * 3, levels)


def _draw_three(rng: random.Random, triples: list[Any], template: int) -> tuple[Drawn, int]:
    """Values in any order, and the place of the greatest (template 0) or the least (1)."""
    values = list(rng.choice(triples))
    rng.shuffle(values)
    return values, values.index(max(values) if template == 0 else min(values))


def _row(pitches: list[float], levels: list[float]) -> Scene:
    sounds = zip(("first", "second", "third"), (0.4, 1.2, 2.0), pitches, levels, strict=True)
    return _padded([Event(k, "sine", t, 0.40, hz, float(db)) for k, t, hz, db in sounds])


def _draw_rhythm(rng: random.Random, difficulty: str, _: int) -> tuple[Drawn, int]:
    counts = list(rng.choice(count_pairs(difficulty)))
    rng.shuffle(counts)
    return counts, counts.index(max(counts))


def _lay_rhythm(counts: Drawn) -> Scene:
    events = []
    for key, start, count in zip(("first", "second"), (0.4, 2.0), counts, strict=True):
        step = (WINDOW_S - PIP_S) / (count - 1)
        events += [_beep(key, start + k * step, PIP_S, 1000.0) for k in range(count)]
    return Scene(3.30, tuple(events))


@lru_cache(maxsize=16)
def _triples(values: tuple[float, ...], step: float) -> list[tuple[float, ...]]:
    """Ascending triples, neighbours at least `step` apart; a choice equals rejection sampling."""
    return [
        (a, b, c)
        for a, b, c in itertools.combinations(values, 3)
        if b - a >= step - 1e-9 and c - b >= step - 1e-9
    ]


# Listing items needs the answers alone, so laying the sounds out is a step of its own.
_RICHER: dict[
    str,
    tuple[Callable[[random.Random, str, int], tuple[Drawn, int]], Callable[[Drawn], Scene]],
] = {
    "time": (_draw_time, _lay_time),
    "pitch": (_draw_pitch, _lay_pitch),
    "loudness": (_draw_loudness, _lay_loudness),
    "rhythm": (_draw_rhythm, _lay_rhythm),
}
