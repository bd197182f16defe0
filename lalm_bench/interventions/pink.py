"""Pink noise: equal power in every octave."""

from __future__ import annotations

import numpy as np

# Shortest stretch that is drawn, samples: a shorter one has no low frequencies.
_STRETCH = 64


def pink(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise whose power falls by 3 dB an octave: float32, shape (samples,)."""
    from scipy import fft

    stretch = fft.next_fast_len(max(samples, _STRETCH), real=True)
    spectrum = fft.rfft(rng.standard_normal(stretch, dtype=np.float32))
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum), dtype=np.float32))
    shaped: np.ndarray = fft.irfft(spectrum, stretch)[:samples]
    return shaped
