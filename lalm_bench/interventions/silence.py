"""Controls that take the sound away: digital silence of the same length, or no audio at all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lalm_bench.interventions.audio_edit import edit_clips
from lalm_bench.types import Audio, Context, Request, Sample


@dataclass(frozen=True)
class SilenceEdit:
    """All zeros, same length."""

    seed: int = 0

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Zeros of the shape of `wave`."""
        return np.zeros_like(wave)


@dataclass(frozen=True)
class Silence:
    """Audio intervention `silence`: the model gets a clip, and there is nothing in it."""

    name: str = "silence"

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """Silence every clip."""
        return edit_clips(sample, request, context, "silence", lambda s: SilenceEdit())


@dataclass(frozen=True)
class NoAudio:
    """Control `no_audio`: the question alone; the model gets no clip."""

    name: str = "no_audio"

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """Remove the audio parts."""
        messages = tuple(
            replace(m, parts=tuple(p for p in m.parts if not isinstance(p, Audio)))
            for m in request.messages
        )
        return replace(request, messages=messages)
