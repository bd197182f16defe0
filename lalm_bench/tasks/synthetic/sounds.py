"""Waveforms of the synthetic scenes: tones with soft edges, a bark, a horn, and their mix.

Everything is mono. Noise comes from `RandomState`, whose stream NumPy has frozen, so that a clip is
the same under every NumPy version.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

FADE_S = 0.010


def fade(wave: np.ndarray, rate: int) -> np.ndarray:
    """Raised-cosine edges of 10 ms, or of half the sound when it is shorter than 20 ms."""
    edge = min(round(FADE_S * rate), len(wave) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / max(edge, 1))
    faded = wave.copy()
    faded[:edge] *= ramp
    faded[len(wave) - edge :] *= ramp[::-1]
    return faded


def sound(waveform: str, pitch_hz: float, length: int, rate: int, seed: int = 0) -> np.ndarray:
    """A bark, a horn or a tone by name; the arguments are those of `tone` and `bark`."""
    if waveform == "bark":
        return bark(pitch_hz, length, rate, seed)
    if waveform == "horn":
        return horn(pitch_hz, length, rate)
    return tone(waveform, pitch_hz, length, rate)


def tone(waveform: str, pitch_hz: float, length: int, rate: int) -> np.ndarray:
    """A tone of amplitude 1 before its fades.

    Parameters
    ----------
    waveform : str
        sine, square or triangle; the latter two are not band-limited, as published.
    pitch_hz : float
        Fundamental frequency, Hz.
    length : int
        Samples.
    rate : int
        Sampling rate, Hz.

    Returns
    -------
    numpy.ndarray
        float64, shape (length,).
    """
    phase = 2 * np.pi * pitch_hz * np.arange(length) / rate
    return fade(_SHAPES[waveform](phase), rate)


def bark(pitch_hz: float, length: int, rate: int, seed: int) -> np.ndarray:
    """Two hoarse syllables: smoothed noise over a falling low harmonic tone, peak 1.

    `pitch_hz` is the pitch at the start; it falls to half. Shape (length,), float64.
    """
    time = np.arange(length) / max(length, 1)
    phase = 2 * np.pi * pitch_hz * np.cumsum(2.0**-time) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 6))
    noise = np.random.RandomState(seed % 2**32).uniform(-1.0, 1.0, length + 3)
    hiss = np.convolve(noise, np.ones(4) / 4, mode="valid")
    syllable = (2 * time) % 1.0
    envelope = 0.08 + np.minimum(1.0, syllable / 0.08) * np.exp(-3.5 * syllable)
    return _full_scale(fade(envelope * (1.6 * hiss + 0.5 * voice), rate))


def horn(pitch_hz: float, length: int, rate: int) -> np.ndarray:
    """A steady pair of tones a major third apart with three overtones each, peak 1.

    Shape (length,), float64.
    """
    time = np.arange(length) / rate
    partials = [(ratio * k, 0.6 ** (k - 1)) for ratio in (1.0, 1.25) for k in range(1, 5)]
    wave = sum(gain * np.sin(2 * np.pi * pitch_hz * step * time) for step, gain in partials)
    return _full_scale(fade(np.asarray(wave), rate))


def mix(sounds: list[tuple[int, float, np.ndarray]], length: int, peak_dbfs: float) -> np.ndarray:
    """Lay sounds onto silence, bring the peak to `peak_dbfs`, quantise to 16 bits.

    Parameters
    ----------
    sounds : list of (first sample, level in dBFS, waveform)
    length : int
        Samples of the clip.
    peak_dbfs : float
        Level of the loudest sample; absolute levels of the parts vanish here, ratios survive.

    Returns
    -------
    numpy.ndarray
        int16, shape (length,).
    """
    clip = np.zeros(length)
    for first, dbfs, wave in sounds:
        clip[first : first + len(wave)] += 10 ** (dbfs / 20) * wave
    pcm: np.ndarray = np.rint(_full_scale(clip) * 10 ** (peak_dbfs / 20) * 32767).astype(np.int16)
    return pcm


def _full_scale(wave: np.ndarray) -> np.ndarray:
    peak = float(np.abs(wave).max(initial=0.0))
    return wave / peak if peak > 0 else wave


_SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sine": np.sin,
    "square": lambda phase: np.sign(np.sin(phase)),
    "triangle": lambda phase: 2 / np.pi * np.arcsin(np.sin(phase)),
}
