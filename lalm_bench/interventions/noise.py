"""Add white Gaussian noise at a signal-to-noise ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.audio_edit import edit_clips
from lalm_bench.types import Context, Request, Sample


@dataclass(frozen=True)
class NoiseEdit:
    """White noise whose power is the clip's own divided by 10^(snr_db / 10), in float."""

    snr_db: float
    seed: int

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Noisy copy of `wave`, shape (samples,); a silent clip stays silent."""
        power = float(np.mean(np.square(wave, dtype=np.float64)))
        noise = rng.standard_normal(len(wave))
        noise *= math.sqrt(power / 10 ** (self.snr_db / 10) / max(float(np.mean(noise**2)), 1e-12))
        return (wave + noise).astype(np.float32)


@dataclass(frozen=True)
class Noise:
    """Audio intervention `noise`."""

    snr_db: float
    name: str = "noise"

    def __post_init__(self) -> None:
        value = self.snr_db
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise ConfigError(f"intervention.snr_db={value!r} must be a number of decibels")

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """Add noise to every clip."""
        return edit_clips(
            sample, request, context, "noise", lambda s: NoiseEdit(float(self.snr_db), s)
        )
