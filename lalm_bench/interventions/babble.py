"""Babble: several recordings at one level, each looped from a random place, added up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lalm_bench import audio
from lalm_bench.errors import AudioError, ConfigError
from lalm_bench.interventions.loudness import SILENT, power
from lalm_bench.randomness import derive
from lalm_bench.types import AudioRef, AudioSource

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus"})


def recordings(folder: str) -> tuple[str, ...]:
    """Audio files directly in `folder`, by name.

    Raises
    ------
    ConfigError
        There is no such folder, or no recording in it.
    """
    place = Path(folder)
    if not place.is_dir():
        raise ConfigError(f"intervention.recordings={folder}: no such folder of recordings")
    files = sorted(str(p) for p in place.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise ConfigError(
            f"intervention.recordings={folder}: no recording in it (.wav, .flac, .ogg, .mp3, ...)"
        )
    return tuple(files)


def pick(files: Sequence[str], voices: int, seed: int) -> tuple[str, ...]:
    """The recordings of one clip's babble; all of them where there are fewer than `voices`."""
    if len(files) <= voices:
        return tuple(files)
    ranks = sorted(files, key=lambda file: derive(seed, "voice", Path(file).name))
    return tuple(sorted(ranks[:voices]))


def babble(files: Sequence[str], samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Sum of the recordings at equal RMS: float32, shape (samples,).

    Raises
    ------
    AudioError
        A recording cannot be read, or none of them sounds in the stretch that is needed.
    """
    mixed = np.zeros(samples, np.float32)
    for file in files:
        voice = audio.render(AudioSource(AudioRef(file)), rate)
        begin, level = int(rng.integers(len(voice))), power(voice)
        if level < SILENT:
            continue
        voice *= np.float32(level**-0.5)
        mixed += np.resize(np.roll(voice, -begin), samples)
    if power(mixed) < SILENT:
        raise AudioError(
            f"{Path(files[0]).parent}: its recordings are silent where babble is taken from them; "
            "name others as intervention.recordings"
        )
    return mixed
