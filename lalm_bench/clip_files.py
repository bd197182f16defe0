"""Clips on disk, to be heard: as a WAV, with a record of where it comes from and what was done.

audio/<digest>.wav     the clip as a model hears it
audio/<digest>.json    items, source, rate, and each edit with its parameters and what it really did
original/<digest>.wav  the same clip without the edits, where asked for
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from lalm_bench import audio
from lalm_bench.engine.prefetch import ahead
from lalm_bench.errors import AudioError, DataError
from lalm_bench.store import write_bytes
from lalm_bench.types import AudioEdit, AudioRef, AudioSource

if TYPE_CHECKING:
    import numpy as np

_OWN_NAME = re.compile(r"[0-9a-f]{32}\.(wav|json)|\.[0-9a-f]{32}\.(wav|json)\.\d+\.partial")
_INDENTED = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY


@dataclass
class ClipFile:
    """One distinct clip of an export, and the items that are asked about it."""

    source: AudioSource
    items: dict[str, None] = field(default_factory=dict)


def name(source: AudioSource, rate: int) -> str:
    """Path of a clip's WAV relative to the export's folder; equal clips have one name."""
    digest = hashlib.blake2b(audio.digest(source, rate).encode(), digest_size=16).hexdigest()
    return f"audio/{digest}.wav"


def render(
    folder: Path, clips: Mapping[str, ClipFile], rate: int, workers: int, original: bool
) -> Iterator[bool]:
    """Write what is not there yet, each file in one step; True for each clip that was written.

    Parameters
    ----------
    folder : Path
    clips : mapping of str to ClipFile
        By `name`. Files of other clips, which an unfinished export left, are removed.
    rate : int
        Hz.
    workers : int
        Threads that decode, edit and write.
    original : bool
        Write the unedited clip too.

    Raises
    ------
    DataError
        A clip cannot be read; names the item.
    """
    kept = {Path(wav).stem for wav in clips}
    for place in ("audio", "original") if original else ("audio",):
        (folder / place).mkdir(exist_ok=True)
        for file in (folder / place).iterdir():
            if _OWN_NAME.fullmatch(file.name) and file.name.partition(".")[0] not in kept:
                file.unlink()

    def write(clip: tuple[str, ClipFile]) -> bool:
        files = _Files(folder, clip[0], original)
        if files.are_there():
            return False
        try:
            files.write(clip[1], rate)
        except AudioError as error:
            raise DataError(f"item '{next(iter(clip[1].items))}': {error}") from error
        return True

    return ahead(write, clips.items(), workers, 2 * workers)


class _Files:
    """Where the files of one clip lie; the WAV comes last, so that it stands for all."""

    def __init__(self, folder: Path, wav: str, original: bool) -> None:
        self.folder, self.name = folder, wav
        self.wav = folder / wav
        self.record = self.wav.with_suffix(".json")
        self.original = folder / "original" / self.wav.name if original else None

    def are_there(self) -> bool:
        wanted = [self.wav, self.record, *([self.original] if self.original else [])]
        return all(file.exists() for file in wanted)

    def write(self, clip: ClipFile, rate: int) -> None:
        source = clip.source
        told = tuple(_Told(edit) for edit in source.edits)
        facts: dict[str, float] = {}
        heard = audio.render(AudioSource(source.clip, told), rate, facts)
        record = {
            "audio": self.name,
            "items": list(clip.items),
            "source": _origin(source),
            "rate": rate,
            "samples": len(heard),
            "edits": [edit.as_json() for edit in told],
            "facts": facts,
        }
        if self.original is not None:
            record["original"] = f"original/{self.wav.name}"
            plain = audio.render(AudioSource(source.clip), rate)
            write_bytes(self.original, wav(plain, rate))
        write_bytes(self.record, orjson.dumps(record, option=_INDENTED, default=str))
        write_bytes(self.wav, wav(heard, rate))


class _Told:
    """An edit that keeps what it said about one clip; of several, `facts` mixes the words."""

    def __init__(self, edit: AudioEdit) -> None:
        self._edit = edit
        self._facts: dict[str, float] = {}

    @property
    def seed(self) -> int:
        return self._edit.seed

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        return self._edit(wave, rate, rng)

    def facts(self, before: np.ndarray, after: np.ndarray, rate: int) -> dict[str, float]:
        measure = getattr(self._edit, "facts", None)
        self._facts = {} if measure is None else measure(before, after, rate)
        return self._facts

    def as_json(self) -> dict[str, Any]:
        # orjson writes a dataclass with its fields; what is no finite number becomes null.
        return {"edit": type(self._edit).__name__, "parameters": self._edit, "facts": self._facts}


def _origin(source: AudioSource) -> dict[str, Any]:
    clip = source.clip
    if isinstance(clip, AudioRef):
        return {"path": clip.path, "start": clip.start, "end": clip.end}
    return {"synthesised": type(clip).__name__, "content": clip.content()}


def wav(wave: Any, rate: int) -> bytes:
    """A WAV file of float32 samples: reading it gives back the same bits, and no time is in it.

    Parameters
    ----------
    wave : numpy.ndarray
        float32, shape (samples,).
    rate : int
        Hz.
    """
    from scipy.io import wavfile

    file = io.BytesIO()
    wavfile.write(file, rate, wave)
    return file.getvalue()
