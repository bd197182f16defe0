"""Add noise at a signal-to-noise ratio: white, pink, or the babble of other recordings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lalm_bench import audio
from lalm_bench.errors import ConfigError
from lalm_bench.interventions.audio_edit import demand_number, demand_one_of, edit_clips
from lalm_bench.interventions.babble import babble, pick, recordings
from lalm_bench.interventions.loudness import POLICIES, SILENT, Settled, power, settle
from lalm_bench.interventions.pink import pink
from lalm_bench.types import AudioRef, AudioSource, Context, Json, Request, Sample

KINDS = ("white", "pink", "babble")


@dataclass(frozen=True)
class NoiseEdit:
    """Noise whose mean power is the clip's own divided by 10^(snr_db / 10).

    Both powers are taken over the whole clip. A silent clip has no ratio to anything: it stays as
    it is, and says so (`silent`).
    """

    snr_db: float
    seed: int
    kind: str = KINDS[0]
    policy: str = POLICIES[0]
    voices: tuple[str, ...] = ()

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Noisy copy of `wave`, shape (samples,).

        Raises
        ------
        AudioError
            A recording for the babble cannot be read, or all are silent.
        """
        return self._settled(wave, power(wave), rate, rng).wave

    def facts(self, before: np.ndarray, after: np.ndarray, rate: int) -> dict[str, float]:
        """Achieved `snr_db`, with the policy's scale removed, `gain` and `clipped_share`."""
        signal = power(before)
        if signal < SILENT:
            return {"silent": 1.0}
        # The scale cannot be read off the two waves, so the mixture is made a second time.
        done = self._settled(before, signal, rate, np.random.default_rng(self.seed))
        heard = after / np.float32(done.gain)
        heard -= before
        error = power(heard)
        return {
            "snr_db": 10 * math.log10(signal / error) if error else math.inf,
            "clipped_share": done.clipped_share,
            "gain": done.gain,
            "silent": 0.0,
        }

    def content(self) -> Json:
        """What determines the edit; recordings by their bytes, wherever they lie."""
        voices: list[Json] = [_digest(voice) for voice in self.voices]
        return [self.snr_db, self.seed, self.kind, self.policy, voices]

    def _settled(
        self, wave: np.ndarray, signal: float, rate: int, rng: np.random.Generator
    ) -> Settled:
        if signal < SILENT:
            return Settled(wave.copy())
        noise = self._noise(len(wave), rate, rng)
        noise *= np.float32(math.sqrt(signal / 10 ** (self.snr_db / 10) / power(noise)))
        noise += wave
        return settle(noise, self.policy)

    def _noise(self, samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
        if self.kind == "white":
            return rng.standard_normal(samples, dtype=np.float32)
        return (
            pink(samples, rng) if self.kind == "pink" else babble(self.voices, samples, rate, rng)
        )


def _digest(path: str) -> str:
    return audio.digest(AudioSource(AudioRef(path)), 0)


@dataclass(frozen=True)
class Noise:
    """Audio intervention `noise`.

    Parameters
    ----------
    snr_db : float, optional
        Decibels; lower is noisier. None adds nothing.
    kind : str
        white, pink or babble.
    policy : str
        rescale, clip or float: see `loudness.settle`.
    recordings : str, optional
        Folder of the babble's recordings.
    voices : int
        How many of them are mixed; all, where there are fewer.
    """

    snr_db: float | None
    kind: str = KINDS[0]
    policy: str = POLICIES[0]
    recordings: str | None = None
    voices: int = 6
    name: str = "noise"
    _files: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        if self.snr_db is not None:
            demand_number("intervention.snr_db", self.snr_db, -100, 100, "decibels")
        demand_one_of("intervention.kind", self.kind, KINDS)
        demand_one_of("intervention.policy", self.policy, POLICIES)
        if self.kind != "babble":
            return
        demand_number("intervention.voices", self.voices, 1)
        if self.recordings is None:
            raise ConfigError("intervention.kind=babble needs intervention.recordings=FOLDER")
        object.__setattr__(self, "_files", recordings(self.recordings))

    def inputs(self) -> list[Path]:
        """The recordings that babble is made of."""
        return [Path(file) for file in self._files]

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """Add noise to every clip; without a level the request, and so its key, stays as it is."""
        if self.snr_db is None:
            return request
        snr_db = float(self.snr_db)

        def edit(seed: int) -> NoiseEdit:
            chosen = pick(self._files, int(self.voices), seed)
            return NoiseEdit(snr_db, seed, self.kind, self.policy, chosen)

        return edit_clips(sample, request, context, "noise", edit)
