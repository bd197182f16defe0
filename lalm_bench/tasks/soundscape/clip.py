"""A scene as a clip that is mixed when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lalm_bench import audio
from lalm_bench.types import AudioRef, AudioSource

if TYPE_CHECKING:
    import numpy as np

VERSION = "soundscape-v1"
REFERENCE_DBFS = -20.0
_FADE_S = 0.005
_PEAK = 0.891


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a recording, where it is heard in the scene (s), and its gain (dB)."""

    recording: AudioRef
    onset: float
    gain_db: float


@dataclass(frozen=True, slots=True)
class MixedClip:
    """Recordings laid over each other and over white noise.

    Parameters
    ----------
    parts : tuple of Part
    duration : float
        Seconds.
    rate : int
        Hz.
    background_dbfs : float, optional
        Root mean square of the noise; None for silence.
    noise_seed : int
    """

    parts: tuple[Part, ...]
    duration: float
    rate: int
    background_dbfs: float | None
    noise_seed: int

    def content(self) -> str:
        """All that determines the waveform; the recordings enter by their bytes."""
        heard = [
            f"{audio.digest(AudioSource(p.recording), self.rate)}+{p.onset}*{p.gain_db}"
            for p in self.parts
        ]
        facts = (VERSION, self.rate, self.duration, self.background_dbfs, self.noise_seed)
        return "|".join([":".join(map(str, facts)), *heard])

    def seconds(self) -> float:
        """Duration."""
        return self.duration

    def synthesise(self) -> tuple[np.ndarray, int]:
        """float32, shape (samples,), and the rate; AudioError when a recording cannot be read."""
        import numpy as np

        length = round(self.duration * self.rate)
        scene = np.zeros(length)
        if self.background_dbfs is not None:
            # NumPy has frozen the stream of RandomState.
            noise = np.random.RandomState(self.noise_seed).standard_normal(length)
            scene += 10 ** (self.background_dbfs / 20) * noise
        for part in self.parts:
            wave, native = audio.decode(part.recording)
            wave = audio.resample(wave, native, self.rate)
            first = round(part.onset * self.rate)
            wave = _faded(wave[: length - first], round(_FADE_S * self.rate))
            scene[first : first + len(wave)] += 10 ** (part.gain_db / 20) * wave
        peak = float(np.abs(scene).max(initial=0.0))
        if peak > _PEAK:
            scene *= _PEAK / peak
        return scene.astype(np.float32), self.rate


def _faded(wave: np.ndarray, edge: int) -> np.ndarray:
    """Linear edges, so that a cut does not click."""
    import numpy as np

    edge = min(edge, len(wave) // 2)
    faded = wave.astype(np.float64)
    ramp = np.arange(edge) / max(edge, 1)
    faded[:edge] *= ramp
    faded[len(wave) - edge :] *= ramp[::-1]
    return faded
