"""What a clip is: a file, a part of it or a computed wave, and the edits that change it.

Data and nothing else, as in `types`, which hands these names on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class AudioRef:
    """A recorded file or a part of it.

    Parameters
    ----------
    path : str
        File on disk.
    start, end : float, optional
        Seconds; the whole file when left out.
    """

    path: str
    start: float | None = None
    end: float | None = None


@runtime_checkable
class Synthesised(Protocol):
    """A clip that is computed when it is needed and never has to lie on disk."""

    def content(self) -> str:
        """Everything that determines the waveform, as one string (hashed into the audio digest)."""

    def seconds(self) -> float:
        """Duration, without computing the waveform."""

    def synthesise(self) -> tuple[np.ndarray, int]:
        """Mono float32 waveform of shape (samples,) and its sampling rate in Hz."""


Clip = AudioRef | Synthesised


class AudioEdit(Protocol):
    """A small frozen dataclass that changes a waveform; its fields are JSON-able parameters.

    `seed` feeds the generator that `audio.render` hands over, so an edit owns its randomness.
    """

    @property
    def seed(self) -> int:
        """Seed of the generator that `__call__` gets."""

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Edited copy of `wave` (float32, shape (samples,)); the input must stay untouched."""


@dataclass(frozen=True, slots=True)
class AudioSource:
    """A clip with the edits an intervention asks for; nothing is decoded until `audio.render`."""

    clip: Clip
    edits: tuple[AudioEdit, ...] = ()
