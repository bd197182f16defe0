"""Limit the bandwidth: down to a lower sampling rate and back, as a telephone would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lalm_bench.audio import resample
from lalm_bench.interventions.audio_edit import demand_number, edit_clips
from lalm_bench.types import Context, Request, Sample


@dataclass(frozen=True)
class BandwidthEdit:
    """Nothing above `rate_hz` / 2 is left; a rate that is not below the model's changes nothing."""

    rate_hz: int
    seed: int = 0

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Band-limited copy of `wave`, shape (samples,)."""
        if self.rate_hz >= rate:
            return wave.copy()
        narrow = resample(wave, rate, self.rate_hz)
        return to_length(resample(narrow, self.rate_hz, rate), len(wave))


def to_length(wave: np.ndarray, samples: int) -> np.ndarray:
    """The first `samples` samples, zeros after the last: resampling rounds lengths its own way."""
    if len(wave) < samples:
        return np.pad(wave, (0, samples - len(wave)))
    return wave[:samples]


@dataclass(frozen=True)
class Bandwidth:
    """Audio intervention `resample`.

    Parameters
    ----------
    rate_hz : int, optional
        The lower rate, Hz; None leaves the request, and so its key, as it is.
    """

    rate_hz: int | None
    name: str = "resample"

    def __post_init__(self) -> None:
        if self.rate_hz is not None:
            demand_number("intervention.rate_hz", self.rate_hz, 100, unit="Hz")

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """Limit the bandwidth of every clip."""
        if self.rate_hz is None:
            return request
        rate_hz = int(self.rate_hz)
        return edit_clips(sample, request, context, "resample", lambda seed: BandwidthEdit(rate_hz))
