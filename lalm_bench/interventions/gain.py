"""Make the clip louder or softer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lalm_bench.interventions.audio_edit import demand_number, demand_one_of, edit_clips
from lalm_bench.interventions.loudness import POLICIES, Settled, settle
from lalm_bench.types import Context, Request, Sample


@dataclass(frozen=True)
class GainEdit:
    """The clip times 10^(db / 20), then brought within full scale by the policy."""

    db: float
    policy: str
    seed: int = 0

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Louder or softer copy of `wave`, shape (samples,)."""
        return self._settled(wave).wave

    def facts(self, before: np.ndarray, after: np.ndarray, rate: int) -> dict[str, float]:
        """`gain` (factor, the policy's own scaling included) and `clipped_share`."""
        done = self._settled(before)
        return {"gain": self._factor() * done.gain, "clipped_share": done.clipped_share}

    def _settled(self, wave: np.ndarray) -> Settled:
        return settle(wave * np.float32(self._factor()), self.policy)

    def _factor(self) -> float:
        return float(10 ** (self.db / 20))


@dataclass(frozen=True)
class Gain:
    """Audio intervention `gain`.

    Parameters
    ----------
    db : float
        Decibels of amplitude; 0 leaves the request, and so its key, as it is.
    policy : str
        What happens past full scale: clip, rescale or float; see `loudness.settle`.
    """

    db: float
    policy: str = "clip"
    name: str = "gain"

    def __post_init__(self) -> None:
        demand_number("intervention.db", self.db, -100, 100, "decibels")
        demand_one_of("intervention.policy", self.policy, POLICIES)

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """Change the level of every clip."""
        if self.db == 0:
            return request
        return edit_clips(
            sample, request, context, "gain", lambda seed: GainEdit(float(self.db), self.policy)
        )
