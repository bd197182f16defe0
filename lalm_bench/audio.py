"""Decode, cut, resample, edit and digest audio. The only place that reads audio files."""

from __future__ import annotations

import dataclasses
import json
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench import audio_facts
from lalm_bench.digests import file_digest
from lalm_bench.errors import AudioError
from lalm_bench.types import AudioEdit, AudioRef, AudioSource, Clip
from lalm_bench.wave_cache import WaveCache, memory_share

if TYPE_CHECKING:
    import soundfile


# Clips as they are before any edit: a quarter of an hour at 16 kHz for several questions on a clip,
# and what memory allows where several runs share this process (`keep_clips`).
waves = WaveCache(1 << 26)


def keep_clips() -> None:
    """Have all further runs of this process share the clips they decode, as memory allows."""
    waves.limit = max(waves.limit, memory_share())


def render(source: AudioSource, rate: int, facts: dict[str, float] | None = None) -> np.ndarray:
    """What the model hears: decoded, mono, resampled to `rate`, then edited.

    Parameters
    ----------
    source : AudioSource
    rate : int
        Target sampling rate, Hz.
    facts : dict, optional
        Takes what the edits really did (`audio_facts.NAMES`); stays empty for a clip without edits.

    Returns
    -------
    numpy.ndarray
        float32, shape (samples,).

    Raises
    ------
    AudioError
        The file cannot be read or holds no numbers, the part asked for lies outside it, or an edit
        leaves nothing of it.
    """
    plain = wave = _plain(source.clip, rate)
    for edit in source.edits:
        before = wave
        wave = edit(before, rate, np.random.default_rng(edit.seed))
        if facts is not None and (measure := getattr(edit, "facts", None)) is not None:
            audio_facts.note(facts, measure(before, wave, rate))
    if source.edits:
        if facts is not None:
            facts["unchanged"] = float(np.array_equal(plain, wave))
        if not np.isfinite(wave).all():
            raise AudioError(
                f"{name(source.clip)}: the intervention leaves samples that are no numbers; "
                "choose a milder one"
            )
    wave = np.ascontiguousarray(wave, dtype=np.float32)
    # What other requests share is not handed out: a feature extractor may write into it.
    return wave if wave.flags.writeable else wave.copy()


def name(clip: Clip) -> str:
    """What a message calls a clip."""
    return clip.path if isinstance(clip, AudioRef) else f"synthesised {type(clip).__name__}"


def _plain(clip: Clip, rate: int) -> np.ndarray:
    """The clip without edits at `rate`, read-only: float32, shape (samples,)."""
    return waves.get((*_identity(clip), rate), lambda: _load(clip, rate))


def _identity(clip: Clip) -> tuple[Any, ...]:
    if not isinstance(clip, AudioRef):
        return (clip.content(),)
    try:
        stat = os.stat(clip.path)
    except OSError as error:
        raise _unreadable(clip.path, error) from error
    return clip.path, stat.st_size, stat.st_mtime_ns, clip.start, clip.end


def _load(clip: Clip, rate: int) -> np.ndarray:
    wave, native = decode(clip) if isinstance(clip, AudioRef) else clip.synthesise()
    wave = resample(wave, native, rate)
    if not np.isfinite(wave).all():
        raise AudioError(f"{name(clip)}: holds samples that are no numbers; replace the file")
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
    edits = [[type(e).__name__, _parameters(e)] for e in source.edits]
    return f"{content}@{rate}:{json.dumps(edits, sort_keys=True)}"


def _parameters(edit: AudioEdit) -> Any:
    """What determines an edit: its own word for it (files by content), else its fields."""
    content = getattr(edit, "content", None)
    return dataclasses.asdict(edit) if content is None else content()  # type: ignore[call-overload]


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
