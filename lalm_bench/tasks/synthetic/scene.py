"""Scenes: which sounds happen when. What one holds is drawn in `mended.py` or `published.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

RATE = 16_000
VERSION = "synth-v2"
PUBLISHED_VERSION = "synth-v1"
PIP_S = 0.05
WINDOW_S = 0.90

# Smallest distance between neighbouring values, by difficulty.
DURATION_STEP_S = {"easy": 0.25, "medium": 0.15, "hard": 0.08}
PAUSE_FLOOR_S = {"easy": 0.50, "medium": 0.30, "hard": 0.15}
SEMITONE_STEP = {"easy": 7, "medium": 4, "hard": 2}
LEVEL_STEP_DB = {"easy": 8, "medium": 5, "hard": 3}
COUNT_STEP = {"easy": 3, "medium": 2, "hard": 1}


@dataclass(frozen=True, slots=True)
class Event:
    """One sound. Seconds, Hz, dBFS; `seed` feeds the noise of a bark."""

    key: str
    waveform: str
    onset: float
    duration: float
    pitch_hz: float
    dbfs: float = -18.0
    seed: int = 0

    @property
    def offset(self) -> float:
        """End of the sound, seconds."""
        return round(self.onset + self.duration, 3)


@dataclass(frozen=True, slots=True)
class Scene:
    """A clip's length (s), sounds, peak level (dBFS) and facts for the written record."""

    duration: float
    events: tuple[Event, ...]
    peak_dbfs: float = -1.0
    facts: Mapping[str, Any] = field(default_factory=dict)


@lru_cache(maxsize=4)
def count_pairs(difficulty: str) -> list[tuple[int, int]]:
    """(fewer, more) pips of two bursts, 3 to 9, at least the difficulty's step apart."""
    step = COUNT_STEP[difficulty]
    return [(few, many) for few in range(3, 10) for many in range(few + step, 10)]


def hertz(note: float) -> float:
    """Frequency of a MIDI note number, Hz (A4 = 69 = 440 Hz)."""
    return float(440.0 * 2 ** ((note - 69) / 12))
