"""Keep a part of the clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lalm_bench import audio
from lalm_bench.errors import AudioError, ConfigError
from lalm_bench.interventions.audio_edit import demand_number, edit_clips
from lalm_bench.types import AudioSource, Context, Request, Sample, Skip


@dataclass(frozen=True)
class TrimEdit:
    """The samples from `start` to `end` seconds; to the end of the clip where `end` is None."""

    start: float
    end: float | None
    seed: int = 0

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """The part of `wave` that is kept, at least one sample.

        Raises
        ------
        AudioError
            The clip ends before `start`.
        """
        first = round(self.start * rate)
        last = len(wave) if self.end is None else max(round(self.end * rate), first + 1)
        if first >= len(wave):
            raise AudioError(
                f"intervention.start={self.start:g}: a clip of {len(wave) / rate:.3f} s has "
                "nothing left; choose an earlier start"
            )
        return wave[first:last].copy()


@dataclass(frozen=True)
class Trim:
    """Audio intervention `trim`.

    Parameters
    ----------
    start : float
        Seconds.
    end : float, optional
        Seconds; the end of the clip when left out.
    keep_s : float, optional
        Seconds kept from `start`, instead of `end`.
    """

    start: float = 0.0
    end: float | None = None
    keep_s: float | None = None
    name: str = "trim"

    def __post_init__(self) -> None:
        demand_number("intervention.start", self.start, 0, unit="seconds")
        if self.end is not None and self.keep_s is not None:
            raise ConfigError(
                "intervention.end and intervention.keep_s exclude each other; set one"
            )
        if self.keep_s is not None:
            demand_number("intervention.keep_s", self.keep_s, 0.001, unit="seconds")
        if self.end is not None:
            demand_number("intervention.end", self.end, self.start + 0.001, unit="seconds")

    def apply(self, sample: Sample, request: Request, context: Context) -> Request | Skip:
        """Trim every clip; from 0 to the end leaves the request, and so its key, as it is."""
        start, end = float(self.start), self.end
        if self.keep_s is not None:
            end = start + self.keep_s
        if start == 0 and end is None:
            return request
        if start > 0 and any(_ends_before(source, start) for source in request.clips()):
            return Skip("the clip ends before the part that is kept")
        return edit_clips(
            *(sample, request, context, "trim"),
            lambda seed: TrimEdit(start, None if end is None else float(end)),
        )


def _ends_before(source: AudioSource, start: float) -> bool:
    """Known from the header, where no earlier edit may have changed the length."""
    try:
        return not source.edits and audio.seconds(source) <= start
    except AudioError:  # a deaf model needs no recordings; any other is told when it hears the clip
        return False
