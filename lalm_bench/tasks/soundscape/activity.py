"""Where in a recording something sounds, so that annotations hold no silence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lalm_bench import audio
from lalm_bench.digests import file_digest
from lalm_bench.errors import AudioError, DataError
from lalm_bench.types import AudioRef

FRAME_S = 0.01
_BELOW_DB = 30.0
_BRIDGE_S = 0.5
_SILENT_DB = -90.0


@dataclass(frozen=True)
class Activity:
    """Level of each frame of a recording.

    Parameters
    ----------
    level_db : numpy.ndarray
        dBFS, shape (frames,).
    frame_s : float
        Seconds of a frame: a whole number of samples, near `FRAME_S`.
    """

    level_db: np.ndarray
    frame_s: float

    def stretches(self, least_s: float) -> list[tuple[int, int]]:
        """Stretches of frames [first, end) that sound for `least_s` seconds or more.

        A frame sounds when it lies within 30 dB of the loudest; pauses below 0.5 s belong to the
        sound.
        """
        top = float(self.level_db.max(initial=_SILENT_DB))
        if top <= _SILENT_DB:
            return []
        active = np.flatnonzero(self.level_db >= top - _BELOW_DB)
        breaks = np.flatnonzero(np.diff(active) > round(_BRIDGE_S / self.frame_s))
        firsts, lasts = active[np.r_[0, breaks + 1]], active[np.r_[breaks, len(active) - 1]]
        pairs = zip(firsts.tolist(), lasts.tolist(), strict=True)
        return [(a, b + 1) for a, b in pairs if (b + 1 - a) * self.frame_s >= least_s]

    def trimmed(self, first: int, end: int) -> tuple[int, int, float]:
        """The part [first, end) without frames at its edges 30 dB below its loudest (dBFS)."""
        part = self.level_db[first:end]
        top = float(part.max())
        active = np.flatnonzero(part >= top - _BELOW_DB)
        return first + int(active[0]), first + int(active[-1]) + 1, top


def activity(path: str) -> Activity:
    """Frame levels of a recording, computed once as long as the file stays the same.

    Raises
    ------
    DataError
        The file cannot be read as audio, or holds values that are no numbers.
    """
    try:
        return _activity(path, file_digest(path))
    except (AudioError, OSError) as error:
        raise DataError(f"{error}; or take it out of task.source.root") from error


@lru_cache(maxsize=1 << 14)
def _activity(path: str, _digest: str) -> Activity:
    wave, rate = audio.decode(AudioRef(path))
    if not np.isfinite(wave).all():
        raise AudioError(f"{path}: holds values that are no numbers (NaN or infinite); replace it")
    size = max(round(FRAME_S * rate), 1)
    frames = wave[: len(wave) // size * size].reshape(-1, size).astype(np.float64)
    power = (frames**2).mean(axis=1)
    level = 10 * np.log10(np.maximum(power, 10 ** (_SILENT_DB / 10)))
    return Activity(level.astype(np.float32), size / rate)
