"""Scenes: which sounds happen when, and the clip that computes itself from five small values.

What a scene holds is drawn in `scene_mended.py` or `scene_published.py`. NumPy is imported when a
clip is computed and not before, so that listing a hundred thousand items stays cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

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


@dataclass(frozen=True, slots=True)
class SceneClip:
    """A clip by name: its sounds are derived again whenever they are needed.

    Parameters
    ----------
    family, difficulty : str
    index : int
        0-based.
    seed : int
        The dataset's seed.
    compat : bool
        The published construction instead of the mended one.
    """

    family: str
    difficulty: str
    index: int
    seed: int
    compat: bool

    def content(self) -> str:
        """Generator version and the five values; they determine every sample of the clip."""
        version = PUBLISHED_VERSION if self.compat else VERSION
        return f"{version}:{self.family}:{self.difficulty}:{self.seed}:{self.index}"

    def scene(self) -> Scene:
        """The sounds of the clip."""
        if self.compat:
            from lalm_bench.tasks.scene_published import published_scene

            return published_scene(self.family, self.difficulty, self.index, self.seed)
        from lalm_bench.tasks.scene_mended import mended_scene

        return mended_scene(self.family, self.difficulty, self.index, self.seed)

    def pcm(self) -> np.ndarray:
        """int16, shape (samples,), at `RATE`."""
        from lalm_bench.tasks import sounds

        scene = self.scene()
        laid = []
        for e in scene.events:
            wave = sounds.sound(e.waveform, e.pitch_hz, round(e.duration * RATE), RATE, e.seed)
            laid.append((round(e.onset * RATE), e.dbfs, wave))
        return sounds.mix(laid, round(scene.duration * RATE), scene.peak_dbfs)

    def synthesise(self) -> tuple[np.ndarray, int]:
        """float32, shape (samples,), and the rate: what decoding the written wav gives."""
        import numpy as np

        return self.pcm().astype(np.float32) / np.float32(32768), RATE


@lru_cache(maxsize=4)
def count_pairs(difficulty: str) -> list[tuple[int, int]]:
    """(fewer, more) pips of two bursts, 3 to 9, at least the difficulty's step apart."""
    step = COUNT_STEP[difficulty]
    return [(few, many) for few in range(3, 10) for many in range(few + step, 10)]


def hertz(note: float) -> float:
    """Frequency of a MIDI note number, Hz (A4 = 69 = 440 Hz)."""
    return float(440.0 * 2 ** ((note - 69) / 12))
