"""What a question about sounds wants to know, and which word answers it.

Each rule is a pattern and a function from the heard sounds to the word that the right option must
contain. A rule says None when the clip does not hold what the question supposes, or when two
sounds differ too little to be told apart: no answer is better than a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from lalm_bench.models.sound_events import SoundEvent, bursts
from lalm_bench.types import Choice

Measure = Callable[[SoundEvent], float]

SHORT_PAUSE_S = 0.65
_NTH = ("first", "second", "third", "fourth", "fifth")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Between sine (0), triangle (1/9) and square (1/3), halfway on a logarithmic scale.
_TRIANGLE, _SQUARE = 0.05, 0.19


def _semitones(event: SoundEvent) -> float:
    return 12 * float(np.log2(max(event.pitch_hz, 1.0)))


def _level(event: SoundEvent) -> float:
    return event.level_db


def _duration(event: SoundEvent) -> float:
    return event.duration


def _noisiness(event: SoundEvent) -> float:
    return 10 * float(np.log10(max(event.noisiness, 1e-12)))


# Word -> what it measures, its sign, and the least difference that counts.
_WORDS: dict[str, tuple[Measure, int, float]] = {
    "high": (_semitones, 1, 0.5),
    "low": (_semitones, -1, 0.5),
    "loud": (_level, 1, 1.0),
    "quiet": (_level, -1, 1.0),
    "long": (_duration, 1, 0.02),
    "short": (_duration, -1, 0.02),
    "dog": (_noisiness, 1, 6.0),
    "car": (_noisiness, -1, 6.0),
}


def _which_first(match: re.Match[str], events: list[SoundEvent]) -> str | None:
    one, other, place = match.groups()
    if one not in _WORDS or other not in _WORDS:
        return None
    measure, sign, least = _WORDS[one]
    if _WORDS[other] != (measure, -sign, least):
        return None
    if measure is _noisiness:
        # A bark's syllables are one sound.
        events = [_longest(group) for group in bursts(events, 0.25)]
    if len(events) != 2:
        return None
    lead = sign * (measure(events[0]) - measure(events[1]))
    if abs(lead) < least:
        return None
    return one if (lead > 0) == (place == "first") else other


def _longest(group: list[SoundEvent]) -> SoundEvent:
    return max(group, key=_duration)


def _how_many(_: re.Match[str], events: list[SoundEvent]) -> str | None:
    return _NUMBERS[len(events)] if 0 < len(events) < len(_NUMBERS) else None


def _pause(_: re.Match[str], events: list[SoundEvent]) -> str | None:
    if len(events) != 2:
        return None
    return "short" if events[1].onset - events[0].offset < SHORT_PAUSE_S else "long"


def _pattern(_: re.Match[str], events: list[SoundEvent]) -> str | None:
    notes = [_semitones(e) for e in events]
    if len(notes) < 2 or max(notes) - min(notes) < 0.5:
        return None
    middle = (max(notes) + min(notes)) / 2
    return "-".join("high" if note > middle else "low" for note in notes)


def _starts(match: re.Match[str], events: list[SoundEvent]) -> str | None:
    if len(events) < 2:
        return None
    return _shape(events[0 if match[1] == "first" else -1])


def _lasts(match: re.Match[str], events: list[SoundEvent]) -> str | None:
    place = _extreme(events, _duration, 1 if match[1] == "longest" else -1, 0.02)
    return None if place is None else _shape(events[place])


def _pitch(match: re.Match[str], events: list[SoundEvent]) -> str | None:
    return _nth(_extreme(events, _semitones, 1 if match[1] == "highest" else -1, 0.5))


def _loudness(match: re.Match[str], events: list[SoundEvent]) -> str | None:
    return _nth(_extreme(events, _level, 1 if match[1] == "loudest" else -1, 0.5))


def _more_beeps(match: re.Match[str], events: list[SoundEvent]) -> str | None:
    if len(events) < 2:
        return None
    # The longest pause is the one between the bursts: each burst fills its own window.
    pauses = [later.onset - sooner.offset for sooner, later in pairwise(events)]
    first = pauses.index(max(pauses)) + 1
    second = len(events) - first
    if first == second:
        return None
    return "first" if (first > second) == (match[1] == "more") else "second"


def _shape(event: SoundEvent) -> str:
    ratio = event.third_harmonic
    return "sine" if ratio < _TRIANGLE else "triangle" if ratio < _SQUARE else "square"


def _extreme(events: list[SoundEvent], measure: Measure, sign: int, least: float) -> int | None:
    """Index of the sound that stands out; None for fewer than two, or a tie."""
    values = [sign * measure(e) for e in events]
    if len(values) < 2:
        return None
    best = values.index(max(values))
    runner_up = max(v for i, v in enumerate(values) if i != best)
    return best if values[best] - runner_up >= least else None


def _nth(place: int | None) -> str | None:
    return _NTH[place] if place is not None and place < len(_NTH) else None


Rule = Callable[[re.Match[str], list[SoundEvent]], str | None]
_RULES: tuple[tuple[re.Pattern[str], Rule], ...] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (r"hear an? (\w+) \w+ and an? (\w+) \w+\. which one happened (first|last)\b", _which_first),
        (r"\bhow many (?:beeps|tones|sounds)\b", _how_many),
        (r"\bpause between the two (?:beeps|tones|sounds) short or long\b", _pause),
        (r"\bwhich pattern did you hear\b", _pattern),
        (r"\bwhich sound starts (first|last)\b", _starts),
        (r"\bwhich sound lasts the (longest|shortest)\b", _lasts),
        (r"\bwhich sound has the (highest|lowest) pitch\b", _pitch),
        (r"\bwhich sound is the (loudest|quietest)\b", _loudness),
        (r"\bwhich burst contains (more|fewer) beeps\b", _more_beeps),
    )
)


def understand(text: str) -> Callable[[list[SoundEvent]], str | None] | None:
    """From the prompt's text to a function from sounds to the answering word; None if unknown.

    A text that matches several rules, or one rule more than once, is not understood either.
    """
    flat = " ".join(text.lower().split())
    found = [(match, rule) for pattern, rule in _RULES for match in pattern.finditer(flat)]
    if len(found) != 1:
        return None
    match, rule = found[0]
    return lambda events: rule(match, events)


def pick(word: str, choices: Sequence[Choice]) -> str | None:
    """Label of the one option that contains the word (or its digit); None unless it is just one.

    Examples
    --------
    >>> pick("low", [Choice("A", "the high beep"), Choice("B", "the low beep")])
    'B'
    """
    digit = str(_NUMBERS.index(word)) if word in _NUMBERS else word
    fitting = [c.label for c in choices if {word, digit} & set(_words(c.text))]
    return fitting[0] if len(fitting) == 1 else None


def _words(text: str) -> list[str]:
    return re.findall(r"[\w-]+", text.lower())
