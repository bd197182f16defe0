"""Play the clip backwards: the spectrum stays, and the order of time turns round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lalm_bench.interventions.audio_edit import edit_clips
from lalm_bench.types import Context, Request, Sample


@dataclass(frozen=True)
class ReverseEdit:
    """The last sample first."""

    seed: int = 0

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Reversed copy of `wave`, shape (samples,)."""
        return wave[::-1].copy()


@dataclass(frozen=True)
class Reverse:
    """Audio intervention `reverse`."""

    name: str = "reverse"

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """Reverse every clip."""
        return edit_clips(sample, request, context, "reverse", lambda seed: ReverseEdit())
