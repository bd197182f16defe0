"""Tone bursts in place of words: no synthesiser and no recording, for tests of the mechanics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lalm_bench.randomness import derive
from lalm_bench.types import Choice

_RATE = 16_000
_BURST_S = 0.12
_LOWEST_HZ, _HIGHEST_HZ = 300.0, 3000.0


@dataclass(frozen=True)
class ToneUtterance:
    """Three to six bursts whose number and pitches the text decides."""

    text: str

    def content(self) -> str:
        """The text; the bursts follow from it."""
        return f"tones 1:{self.text}"

    def synthesise(self) -> tuple[np.ndarray, int]:
        """Waveform, float32 of shape (samples,), and its rate in Hz."""
        rng = np.random.default_rng(derive(0, self.text, "tones"))
        pitches = rng.uniform(_LOWEST_HZ, _HIGHEST_HZ, rng.integers(3, 7))
        time = np.arange(round(_BURST_S * _RATE)) / _RATE
        bursts = np.sin(2 * np.pi * pitches[:, None] * time) * np.hanning(len(time))
        return bursts.ravel().astype(np.float32), _RATE


@dataclass(frozen=True)
class Tones:
    """A stand-in for speech that no model understands."""

    def inputs(self) -> list[Path]:
        """No files."""
        return []

    def say(self, choice: Choice) -> ToneUtterance:
        """Bursts in place of the option's text."""
        return ToneUtterance(choice.text)
