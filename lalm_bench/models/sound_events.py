"""Sounds in a waveform: where they start and end, and what they measure.

Onsets and offsets come from short-time energy; pitch, level, harmonics and noisiness from the
middle of a sound, away from its edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

BLOCK_S = 0.005
RANGE_DB = 36.0
SILENCE_DB = -65.0
ABOVE_FLOOR_DB = 10.0
SHORTEST_S = 0.015
BRIDGE_S = 0.020
_SPECTRUM_S = 0.25


@dataclass(frozen=True)
class SoundEvent:
    """One sound.

    Parameters
    ----------
    wave : numpy.ndarray
        Its own samples, shape (samples,).
    onset, offset : float
        Seconds.
    rate : int
        Hz.
    """

    wave: np.ndarray
    onset: float
    offset: float
    rate: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.offset - self.onset

    @cached_property
    def level_db(self) -> float:
        """Root mean square of the middle half, dBFS."""
        quarter = len(self.wave) // 4
        middle = self.wave[quarter : len(self.wave) - quarter]
        return float(10 * np.log10(np.mean(np.square(middle, dtype=np.float64)) + 1e-12))

    @cached_property
    def pitch_hz(self) -> float:
        """Frequency of the strongest partial, Hz, by parabolic interpolation."""
        power, step = self._spectrum
        peak = int(np.argmax(power[1:-1])) + 1
        before, at, after = np.log(power[peak - 1 : peak + 2] + 1e-20)
        bend = before - 2 * at + after
        shift = 0.5 * (before - after) / bend if bend else 0.0
        return float((peak + shift) * step)

    @cached_property
    def third_harmonic(self) -> float:
        """Amplitude at three times the pitch relative to the pitch: 1/9 triangle, 1/3 square."""
        power, step = self._spectrum
        width = max(2, round(0.1 * self.pitch_hz / step))
        near = [round(k * self.pitch_hz / step) for k in (1, 3)]
        one, three = (power[max(0, k - width) : k + width + 1].max(initial=0.0) for k in near)
        return float(np.sqrt(three / max(one, 1e-20)))

    @cached_property
    def noisiness(self) -> float:
        """Spectral flatness between 100 Hz and 7 kHz: towards 0 a tone, towards 1 noise."""
        power, step = self._spectrum
        band = power[int(100 / step) : int(7000 / step)] + 1e-20
        return float(np.exp(np.mean(np.log(band))) / np.mean(band))

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, float]:
        """Power spectrum of the middle and its bin width in Hz."""
        spare = max(0, len(self.wave) - int(_SPECTRUM_S * self.rate)) // 2
        middle = self.wave[spare : len(self.wave) - spare]
        size = 1 << (2 * len(middle) - 1).bit_length()
        spectrum = np.fft.rfft(middle * np.hanning(len(middle)), size)
        return np.abs(spectrum) ** 2, self.rate / size


def detect(wave: np.ndarray, rate: int) -> list[SoundEvent]:
    """Sounds in order of onset; an empty list for silence.

    A block of 5 ms sounds when it is less than 36 dB below the loudest block and at least 10 dB
    above the clip's floor (its tenth percentile), or above the middle of floor and peak where the
    two are closer than 20 dB.

    Parameters
    ----------
    wave : numpy.ndarray
        Shape (samples,).
    rate : int
        Hz.
    """
    hop = max(1, round(BLOCK_S * rate))
    count = len(wave) // hop
    if count == 0:
        return []
    blocks = wave[: count * hop].reshape(count, hop).astype(np.float64)
    energy = 10 * np.log10(np.einsum("ij,ij->i", blocks, blocks) / hop + 1e-12)
    peak = float(energy.max())
    if peak < SILENCE_DB:
        return []
    floor = float(np.percentile(energy, 10))
    threshold = max(peak - RANGE_DB, min(floor + ABOVE_FLOOR_DB, (floor + peak) / 2), SILENCE_DB)
    spans = _spans(energy >= threshold, round(BRIDGE_S / BLOCK_S))
    return [
        SoundEvent(wave[first * hop : last * hop], first * hop / rate, last * hop / rate, rate)
        for first, last in spans
        if (last - first) * hop >= SHORTEST_S * rate
    ]


def _spans(active: np.ndarray, bridge: int) -> list[tuple[int, int]]:
    """Runs of True as (first, end) block indices; breaks of up to `bridge` blocks are closed."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], active.astype(np.int8), [0]))))
    spans: list[tuple[int, int]] = []
    for first, last in edges.reshape(-1, 2).tolist():
        if spans and first - spans[-1][1] <= bridge:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
    return spans


def bursts(events: list[SoundEvent], pause: float) -> list[list[SoundEvent]]:
    """Groups of sounds whose inner pauses are shorter than `pause` seconds."""
    groups: list[list[SoundEvent]] = []
    for event in events:
        if groups and event.onset - groups[-1][-1].offset < pause:
            groups[-1].append(event)
        else:
            groups.append([event])
    return groups
