"""Decode, cut, resample, edit and digest audio. The only place that reads audio files."""

from __future__ import annotations

import dataclasses
import json
import os
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from lalm_bench.digests import file_digest
from lalm_bench.errors import AudioError
from lalm_bench.types import AudioRef, AudioSource

if TYPE_CHECKING:
    import soundfile


def render(source: AudioSource, rate: int) -> np.ndarray:
    """What the model hears: decoded, mono, resampled to `rate`, then edited.

    Parameters
    ----------
    source : AudioSource
    rate : int
        Target sampling rate, Hz.

    Returns
    -------
    numpy.ndarray
        float32, shape (samples,).

    Raises
    ------
    AudioError
        The file cannot be read or holds no numbers, or the part asked for lies outside it.
    """
    clip = source.clip
    wave, native = decode(clip) if isinstance(clip, AudioRef) else clip.synthesise()
    wave = resample(wave, native, rate)
    for edit in source.edits:
        wave = edit(wave, rate, np.random.default_rng(edit.seed))
    if not np.isfinite(wave).all():
        name = clip.path if isinstance(clip, AudioRef) else type(clip).__name__
        raise AudioError(f"{name}: holds samples that are no numbers; replace the file")
    return np.ascontiguousarray(wave, dtype=np.float32)


def decode(ref: AudioRef) -> tuple[np.ndarray, int]:
    """Mono float32 samples of shape (samples,) in [-1, 1] and the file's own rate in Hz."""
    with _open(ref.path) as file:
        rate = file.samplerate
        first, last = _bounds(ref, file.frames, rate)
        try:
            if first:
                file.seek(first)
            wave = file.read(last - first, dtype="float32", always_2d=True)
        except (RuntimeError, OSError) as error:
            raise AudioError(f"{ref.path}: cannot decode ({error}); replace the file") from error
    if len(wave) != last - first:
        raise AudioError(
            f"{ref.path}: holds {len(wave)} of the {last - first} samples its header promises; "
            "the file is cut short, fetch it again"
        )
    return wave[:, 0] if wave.shape[1] == 1 else wave.mean(axis=1, dtype=np.float32), rate


def resample(wave: np.ndarray, native: int, rate: int) -> np.ndarray:
    """Band-limited resampling (soxr, high quality); the input itself when the rates agree."""
    if native == rate:
        return wave
    import soxr

    resampled: np.ndarray = soxr.resample(wave, native, rate, quality="HQ")
    return resampled


def seconds(source: AudioSource) -> float:
    """Duration of the unedited clip, from the header alone where there is one."""
    clip = source.clip
    if isinstance(clip, AudioRef):
        frames, rate = probe(clip.path)
        first, last = _bounds(clip, frames, rate)
        return (last - first) / rate
    return clip.seconds()


@lru_cache(maxsize=1 << 16)
def probe(path: str) -> tuple[int, int]:
    """(frames, rate in Hz) from the header; raises AudioError for what is not audio or is empty."""
    with _open(path) as file:
        if file.frames <= 0:
            raise AudioError(f"{path}: holds no samples; replace the file or drop the item")
        return file.frames, file.samplerate


def digest(source: AudioSource, rate: int) -> str:
    """Identity of what `render` returns: the file's bytes, the part, the edits and the rate."""
    clip = source.clip
    if isinstance(clip, AudioRef):
        content = f"{_file_digest(clip.path)}:{clip.start}:{clip.end}"
    else:
        content = clip.content()
    if not source.edits:
        return f"{content}@{rate}"
    edits = [
        [type(e).__name__, dataclasses.asdict(e)]  # type: ignore[call-overload]
        for e in source.edits
    ]
    return f"{content}@{rate}:{json.dumps(edits, sort_keys=True)}"


def _file_digest(path: str) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _open(path: str) -> soundfile.SoundFile:
    import soundfile

    try:
        return soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> AudioError:
    if not os.path.exists(path):
        return AudioError(f"{path}: no such audio file; fetch the audio or mend the dataset's path")
    return AudioError(f"{path}: not readable as audio ({error}); replace the file")


def _bounds(ref: AudioRef, frames: int, rate: int) -> tuple[int, int]:
    first = 0 if ref.start is None else round(ref.start * rate)
    last = frames if ref.end is None else min(round(ref.end * rate), frames)
    if not 0 <= first < last:
        raise AudioError(
            f"{ref.path}: the part {ref.start} to {ref.end} s is empty or lies outside "
            f"its {frames / rate:.3f} s"
        )
    return first, last
