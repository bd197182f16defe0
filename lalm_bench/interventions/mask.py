"""Silence a share of the clip in scattered segments; stronger levels contain weaker ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lalm_bench.interventions.audio_edit import demand_share, edit_clips
from lalm_bench.types import Context, Request, Sample


@dataclass(frozen=True)
class MaskEdit:
    """Zero exactly round(ratio * samples) samples.

    The clip is cut into segments of `segment_s` seconds that are zeroed in a random order fixed by
    `seed`, so what is masked at 20 % is masked at 40 %.
    """

    ratio: float
    segment_s: float
    seed: int

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Masked copy of `wave`, shape (samples,)."""
        left = round(self.ratio * len(wave))
        masked = wave.copy()
        length = max(1, round(self.segment_s * rate))
        starts = rng.permutation(np.arange(0, len(wave), length))
        for start in starts:
            if left <= 0:
                break
            end = min(start + length, start + left, len(wave))
            masked[start:end] = 0.0
            left -= int(end - start)
        return masked


@dataclass(frozen=True)
class Mask:
    """Audio intervention `mask`."""

    ratio: float
    segment_s: float = 0.25
    name: str = "mask"

    def __post_init__(self) -> None:
        demand_share("intervention.ratio", self.ratio)

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """Mask every clip; ratio 0 leaves the request, and so its key, as it is."""
        if self.ratio == 0:
            return request
        return edit_clips(
            sample, request, context, "mask", lambda s: MaskEdit(self.ratio, self.segment_s, s)
        )
