"""The default construction of the synthetic scenes (see `synthetic.py` for what it mends and why).

Every number is drawn from the scene's own generator, never from the answer: the answer only decides
which drawn value goes where.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from lalm_bench.tasks.synthetic.catalogue import FAMILIES, balanced_plan, scene_seed
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

MARGIN_S = 0.10


def mended_scene(family: str, difficulty: str, index: int, seed: int) -> Scene:
    """Scene whose length, placement and level are the same game whatever the answer is."""
    plan = balanced_plan(family, difficulty, index, seed)
    rng = random.Random(scene_seed(seed, family, difficulty, index))  # noqa: S311
    build, total = _BUILDERS[family]
    peak = round(rng.uniform(-9.0, -1.0), 2)
    lead = rng.random()
    draft = build(rng, difficulty, plan.template, plan.answer)
    span = sum(e.duration for e in draft.events) + sum(draft.pauses)
    onset = MARGIN_S + lead * (total - 2 * MARGIN_S - span)
    placed = []
    for event, pause in zip(draft.events, (*draft.pauses, 0.0), strict=True):
        placed.append(replace(event, onset=round(onset, 3)))
        onset += event.duration + pause
    return Scene(total, tuple(placed), peak, draft.facts or {})


class Draft(NamedTuple):
    """Sounds without their onsets, the pauses between them (s), and facts for the record."""

    events: list[Event]
    pauses: list[float]
    facts: Mapping[str, Any] | None = None


Builder = Callable[[random.Random, str, int, int], Draft]


def _tone(
    key: str, duration: float, pitch_hz: float, dbfs: float = -18.0, shape: str = "sine"
) -> Event:
    return Event(key, shape, 0.0, round(duration, 3), round(pitch_hz, 2), round(dbfs, 2))


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return float(low * (high / low) ** rng.random())


def _high_low(rng: random.Random) -> dict[str, float]:
    low = _log_uniform(rng, 180, 400)
    return {"low": low, "high": low * 2 ** (rng.uniform(10, 24) / 12)}


def spaced(rng: random.Random, count: int, low: float, high: float, step: float) -> list[float]:
    """Ascending values in [low, high], at least `step` apart, uniform over all such tuples."""
    free = sorted(rng.uniform(low, high - (count - 1) * step) for _ in range(count))
    return [value + i * step for i, value in enumerate(free)]


def _pitch_order(rng: random.Random, _: str, __: int, answer: int) -> Draft:
    pitch, length = _high_low(rng), rng.uniform(0.12, 0.30)
    keys = ("high", "low") if answer == 0 else ("low", "high")
    return Draft([_tone(k, length, pitch[k]) for k in keys], [rng.uniform(0.4, 1.6)])


def _loudness_order(rng: random.Random, _: str, __: int, answer: int) -> Draft:
    pitch, length = _log_uniform(rng, 250, 1000), rng.uniform(0.12, 0.30)
    level = {"loud": -6.0, "quiet": -6.0 - rng.uniform(12, 20)}
    keys = ("loud", "quiet") if answer == 0 else ("quiet", "loud")
    return Draft([_tone(k, length, pitch, level[k]) for k in keys], [rng.uniform(0.4, 1.6)])


def _duration_order(rng: random.Random, _: str, __: int, answer: int) -> Draft:
    pitch = _log_uniform(rng, 250, 1000)
    length = {"short": rng.uniform(0.08, 0.20), "long": rng.uniform(0.7, 1.2)}
    keys = ("long", "short") if answer == 0 else ("short", "long")
    return Draft([_tone(k, length[k], pitch) for k in keys], [rng.uniform(0.4, 1.5)])


def _count(rng: random.Random, _: str, __: int, answer: int) -> Draft:
    pitch, length = _log_uniform(rng, 250, 1000), rng.uniform(0.10, 0.30)
    pauses = [rng.uniform(0.35, 1.0) for _ in range(answer)]
    beeps = [_tone("beep", length, pitch) for _ in range(answer + 1)]
    return Draft(beeps, pauses, {"count": answer + 1})


def _gap(rng: random.Random, _: str, __: int, answer: int) -> Draft:
    pitch, length = _log_uniform(rng, 250, 1000), rng.uniform(0.12, 0.30)
    pause = rng.uniform(*((0.12, 0.35), (1.2, 2.2))[answer])
    beeps = [_tone("beep", length, pitch) for _ in range(2)]
    return Draft(beeps, [pause], {"gap_seconds": round(pause, 3)})


def _pattern(rng: random.Random, _: str, __: int, answer: int) -> Draft:
    pitch, length = _high_low(rng), rng.uniform(0.12, 0.30)
    keys = ("high", "low", "high") if answer == 0 else ("low", "high", "low")
    beeps = [_tone(k, length, pitch[k]) for k in keys]
    pauses = [rng.uniform(0.3, 0.9) for _ in range(2)]
    return Draft(beeps, pauses, {"pattern": "_".join(keys)})


def _dog_car(rng: random.Random, _: str, __: int, answer: int) -> Draft:
    dog = Event(
        "dog",
        "bark",
        0.0,
        round(rng.uniform(0.3, 0.6), 3),
        round(rng.uniform(220, 380), 2),
        round(rng.uniform(-6, 0), 2),
        rng.getrandbits(32),
    )
    car = _tone("car", rng.uniform(0.4, 0.8), rng.uniform(300, 460), rng.uniform(-6, 0), "horn")
    return Draft([dog, car] if answer == 0 else [car, dog], [rng.uniform(0.5, 1.5)])


def _time(rng: random.Random, difficulty: str, template: int, answer: int) -> Draft:
    shapes = [key for key, _ in FAMILIES["time"].options]
    asked = shapes.pop(answer)
    rng.shuffle(shapes)
    lengths = spaced(rng, 3, 0.28, 1.12, DURATION_STEP_S[difficulty])
    special = (None, None, lengths[2], lengths[0])[template]
    place = (0, 2, rng.randrange(3), rng.randrange(3))[template]
    shapes.insert(place, asked)
    if special is None:
        rng.shuffle(lengths)
    else:
        lengths.remove(special)
        rng.shuffle(lengths)
        lengths.insert(place, special)
    pitch, floor = rng.uniform(300, 600), PAUSE_FLOOR_S[difficulty]
    pauses = [rng.uniform(floor, 0.80) for _ in range(2)]
    return Draft(
        [_tone(s, d, pitch, shape=s) for s, d in zip(shapes, lengths, strict=True)], pauses
    )


def _extreme(rng: random.Random, values: list[float], template: int, answer: int) -> list[float]:
    """Put the greatest (template 0) or least (1) value at the answer's place, the rest anywhere."""
    special = values.pop(-1 if template == 0 else 0)
    rng.shuffle(values)
    values.insert(answer, special)
    return values


def _pitch(rng: random.Random, difficulty: str, template: int, answer: int) -> Draft:
    notes = _extreme(rng, spaced(rng, 3, 48, 84, SEMITONE_STEP[difficulty]), template, answer)
    length, pauses = rng.uniform(0.30, 0.45), [rng.uniform(0.3, 0.6) for _ in range(2)]
    return Draft([_tone(_nth(i), length, hertz(note)) for i, note in enumerate(notes)], pauses)


def _loudness(rng: random.Random, difficulty: str, template: int, answer: int) -> Draft:
    levels = _extreme(rng, spaced(rng, 3, -30, -8, LEVEL_STEP_DB[difficulty]), template, answer)
    length, pauses = rng.uniform(0.30, 0.45), [rng.uniform(0.3, 0.6) for _ in range(2)]
    pitch = _log_uniform(rng, 300, 900)
    return Draft([_tone(_nth(i), length, pitch, level) for i, level in enumerate(levels)], pauses)


def _rhythm(rng: random.Random, difficulty: str, _: int, answer: int) -> Draft:
    few, many = rng.choice(count_pairs(difficulty))
    pitch, between = _log_uniform(rng, 700, 1400), rng.uniform(0.6, 1.2)
    events: list[Event] = []
    pauses: list[float] = []
    for place, count in enumerate((many, few) if answer == 0 else (few, many)):
        events += [_tone(_nth(place), PIP_S, pitch) for _ in range(count)]
        pauses += [(WINDOW_S - count * PIP_S) / (count - 1)] * (count - 1)
        pauses += [between] if place == 0 else []
    return Draft(events, pauses)


def _nth(place: int) -> str:
    return ("first", "second", "third")[place]


# Every family has one clip length (s): it fits the longest draw and cannot tell the answer.
_BUILDERS: dict[str, tuple[Builder, float]] = {
    "pitch_order_trivial": (_pitch_order, 3.0),
    "loudness_order_trivial": (_loudness_order, 3.0),
    "duration_order_trivial": (_duration_order, 4.0),
    "count_beeps_trivial": (_count, 4.5),
    "gap_trivial": (_gap, 3.6),
    "pattern_pitch_trivial": (_pattern, 4.0),
    "dog_car_order_trivial": (_dog_car, 4.0),
    "time": (_time, 6.0),
    "pitch": (_pitch, 3.4),
    "loudness": (_loudness, 3.4),
    "rhythm": (_rhythm, 4.0),
}
