"""Play the clip faster or slower, as a tape: pitch moves with tempo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lalm_bench.interventions.audio_edit import demand_number, edit_clips
from lalm_bench.interventions.bandwidth import to_length
from lalm_bench.types import Context, Request, Sample


@dataclass(frozen=True)
class SpeedEdit:
    """Resampled to 1 / factor of its length; frequencies are multiplied by `factor`."""

    factor: float
    seed: int = 0

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Faster or slower copy of `wave`: round(samples / factor) samples, at least one."""
        import soxr

        played = soxr.resample(wave, self.factor, 1.0, quality="HQ")
        return to_length(played, max(1, round(len(wave) / self.factor)))


@dataclass(frozen=True)
class Speed:
    """Audio intervention `speed`."""

    factor: float
    name: str = "speed"

    def __post_init__(self) -> None:
        demand_number("intervention.factor", self.factor, 0.1, 10)

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """Change the speed of every clip; factor 1 leaves the request, and so its key, as it is."""
        if self.factor == 1:
            return request
        return edit_clips(
            sample, request, context, "speed", lambda seed: SpeedEdit(float(self.factor))
        )
