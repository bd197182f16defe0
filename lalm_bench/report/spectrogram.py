"""A waveform as a small picture: mel bands over time, in decibels."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np

BANDS = 96
MOST_COLUMNS = 720
_WINDOW_S = 0.032
_RANGE_DB = 80.0
# Shades of a picture: few enough that it compresses well, and enough for the eye.
_SHADES = 40
_BLOCK = 2048


def mel_power(wave: np.ndarray, rate: int) -> np.ndarray:
    """Power in mel bands over time, averaged to at most `MOST_COLUMNS` columns.

    Parameters
    ----------
    wave : numpy.ndarray
        float32, shape (samples,).
    rate : int
        Hz.

    Returns
    -------
    numpy.ndarray
        float64, shape (BANDS, columns), low bands first. Columns lie evenly over the whole clip.

    Notes
    -----
    Frames of 32 ms under a Hann window, half overlapping or closer, centred; triangular filters
    from 0 Hz to half the rate on the mel scale of O'Shaughnessy (2595 log10(1 + f / 700)).
    """
    size = max(16, round(_WINDOW_S * rate))
    columns = max(1, min(MOST_COLUMNS, len(wave) // max(1, size // 4)))
    step = max(1, min(size // 2, len(wave) // (2 * columns)))
    padded = np.pad(np.asarray(wave, np.float32), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::step]
    place = np.minimum(np.arange(len(frames)) * step * columns // max(len(wave), 1), columns - 1)
    window = np.hanning(size).astype(np.float32)
    bank = _bank(rate, size)
    sums = np.zeros((columns, BANDS))
    for start in range(0, len(frames), _BLOCK):
        block = frames[start : start + _BLOCK] * window
        power = np.abs(np.fft.rfft(block, axis=1)) ** 2
        np.add.at(sums, place[start : start + _BLOCK], power @ bank.T)
    counts = np.bincount(place, minlength=columns)
    return np.asarray((sums / np.maximum(counts, 1)[:, None]).T)


@lru_cache(maxsize=8)
def _bank(rate: int, size: int) -> np.ndarray:
    """Triangular filters, shape (BANDS, size // 2 + 1); each covers a bin at least."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(size, 1 / rate)
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bank = np.maximum(0, np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid)))
    empty = bank.sum(axis=1) == 0
    bank[empty, np.abs(bins - mid[empty]).argmin(axis=1)] = 1
    return np.asarray(bank / bank.sum(axis=1, keepdims=True))


def picture(power: np.ndarray, loudest: float | None = None) -> bytes:
    """A PNG, one pixel a band and column, high bands at the top.

    Parameters
    ----------
    power : numpy.ndarray
        As from `mel_power`.
    loudest : float, optional
        Power that gets the brightest shade; 80 dB below it is the darkest. Two pictures compare
        when it is the same.
    """
    from matplotlib import colormaps
    from PIL import Image

    top = float(power.max(initial=0.0)) if loudest is None else loudest
    floor = max(top, 1e-12) * 10 ** (-_RANGE_DB / 10)
    decibels = 10 * np.log10(np.maximum(power, floor) / floor)
    shades = np.clip(np.round(decibels / _RANGE_DB * (_SHADES - 1)), 0, _SHADES - 1)
    image = Image.fromarray(shades[::-1].astype(np.uint8), mode="P")
    colours = colormaps["magma"](np.linspace(0, 1, _SHADES))[:, :3]
    image.putpalette((colours * 255).round().astype(np.uint8).tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
