"""Power of a clip, and what happens to samples that an edit drives past full scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POLICIES = ("rescale", "clip", "float")
PEAK = 0.99
# Mean square below which a clip is silent: -200 dB of full scale.
SILENT = 1e-20
_FULL_SCALE = 32768
_BLOCK = 1 << 15


def power(wave: np.ndarray) -> float:
    """Mean square of float32 samples, shape (samples,); 0 for none.

    Squares are of single precision and their sum of double, block by block: exact to 1e-7, and
    never dependent on the number of cores as a BLAS product is.
    """
    total = 0.0
    squares = np.empty(min(_BLOCK, len(wave)), np.float32)
    for start in range(0, len(wave), _BLOCK):
        block = wave[start : start + _BLOCK]
        part = np.square(block, out=squares[: len(block)])
        total += float(part.sum(dtype=np.float64))
    return total / max(len(wave), 1)


@dataclass(frozen=True)
class Settled:
    """A clip within its policy's bounds.

    Parameters
    ----------
    wave : numpy.ndarray
        float32, shape (samples,).
    gain : float
        Factor that the policy applied.
    clipped_share : float
        Samples cut off at full scale, over all samples.
    """

    wave: np.ndarray
    gain: float = 1.0
    clipped_share: float = 0.0


def settle(wave: np.ndarray, policy: str) -> Settled:
    """Bring `wave` within full scale; it is changed in place.

    Parameters
    ----------
    wave : numpy.ndarray
        float32, shape (samples,); the caller's own.
    policy : str
        rescale: scaled to a peak of 0.99 when it exceeds that. clip: cut off at full scale and
        rounded to 16 bit, as writing it to a 16-bit file would. float: left as it is.
    """
    if policy == "float" or not len(wave):
        return Settled(wave)
    if policy == "clip":
        wave *= _FULL_SCALE
        np.rint(wave, out=wave)
        beyond = np.count_nonzero(wave > _FULL_SCALE - 1) + np.count_nonzero(wave < -_FULL_SCALE)
        np.clip(wave, -_FULL_SCALE, _FULL_SCALE - 1, out=wave)
        wave /= _FULL_SCALE
        return Settled(wave, clipped_share=float(beyond / len(wave)))
    peak = max(float(wave.max()), -float(wave.min()))
    if peak <= PEAK:
        return Settled(wave)
    gain = PEAK / peak
    wave *= np.float32(gain)
    return Settled(wave, gain)
