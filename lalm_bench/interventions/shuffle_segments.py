"""Put the segments of a clip into random order: what it holds stays, when it happens does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lalm_bench.interventions.audio_edit import demand_number, edit_clips
from lalm_bench.types import Context, Request, Sample


@dataclass(frozen=True)
class ShuffleEdit:
    """Segments of `segment_s` seconds (the last may be shorter) in an order drawn from `seed`."""

    segment_s: float
    seed: int

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """The samples of `wave`, each exactly once: shape (samples,)."""
        length = max(1, round(self.segment_s * rate))
        starts = rng.permutation(np.arange(0, len(wave), length))
        return np.concatenate([wave[:0], *(wave[start : start + length] for start in starts)])


@dataclass(frozen=True)
class ShuffleSegments:
    """Audio intervention `shuffle_segments`."""

    segment_s: float = 0.5
    name: str = "shuffle_segments"

    def __post_init__(self) -> None:
        demand_number("intervention.segment_s", self.segment_s, 0.001, unit="seconds")

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """Shuffle every clip."""
        return edit_clips(
            *(sample, request, context, "shuffle_segments"),
            lambda seed: ShuffleEdit(float(self.segment_s), seed),
        )
