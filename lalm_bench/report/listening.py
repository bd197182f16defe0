"""The samples that a report lets one hear as the model heard them, and their pictures."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from lalm_bench import audio
from lalm_bench.errors import AudioError, one_line
from lalm_bench.randomness import derive
from lalm_bench.report import marks, spectrogram
from lalm_bench.report.attention import Captured
from lalm_bench.report.columns import (
    ERROR,
    INVALID,
    RIGHT_TO_WRONG,
    WRONG,
    WRONG_TO_RIGHT,
    Columns,
)
from lalm_bench.store import write_bytes
from lalm_bench.types import AudioRef, AudioSource

Attended = dict[str, Any]
# A recording that a browser can play; other formats are heard only where they are rendered.
_PLAYED = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".oga", ".m4a", ".mp4", ".aac", ".webm")


def choose(runs: list[Columns], most: int | None, seed: int) -> list[set[int]]:
    """Rows to render, for each run: at most `most` in all, dealt out to the runs in turn.

    Parameters
    ----------
    runs : list of Columns
    most : int or None
        None for every row.
    seed : int
        Draws among rows of one kind.

    Notes
    -----
    Prompts whose attention was captured come first, then answers that the intervention turned, then
    wrong and invalid ones, then the others; within each kind the values of the first group take
    turns, so that no category fills the list.
    """
    if most is None:
        return [{i for i, s in enumerate(run.status) if s != ERROR} for run in runs]
    queues = [_ranked(run, seed) for run in runs]
    chosen: list[set[int]] = [set() for _ in runs]
    left = most
    while left and any(queues):
        for place, queue in enumerate(queues):
            if left and queue:
                chosen[place].add(queue.pop(0))
                left -= 1
    return chosen


def _ranked(run: Columns, seed: int) -> list[int]:
    group = next((coded.at for coded in run.groups.values() if len(coded.words) > 1), None)
    rows = [i for i, status in enumerate(run.status) if status != ERROR]
    # Equal items draw alike in all runs: one clip can be compared under every condition.
    rows.sort(key=lambda i: derive(seed, "report", run.keys[i][0]))
    attended = {*run.attended}
    met: dict[tuple[int, int], int] = {}
    ranks = {}
    for i in rows:
        kind = -1 if i in attended else _kind(run, i)
        value = group[i] if group else 0
        turn = met.get((kind, value), 0)
        met[kind, value] = turn + 1
        ranks[i] = (kind, turn)
    return sorted(rows, key=ranks.__getitem__)


def _kind(run: Columns, row: int) -> int:
    if (run.change[row] or 0) & (RIGHT_TO_WRONG | WRONG_TO_RIGHT):
        return 0
    return 1 if run.status[row] in (WRONG, INVALID) else 2


@dataclass(frozen=True)
class _Written:
    """A clip on disk for the page, the power of its brightest shade, and what its edits did."""

    record: dict[str, Any]
    loudest: float
    seen: marks.Seen


@dataclass
class Studio:
    """Writes clips and pictures below a report, each distinct one once.

    Parameters
    ----------
    folder : Path
        Where files are written now.
    home : Path
        Where the report will lie: what lies elsewhere is referred to from there.
    copy : bool
        Copy the recordings of all samples, rather than refer to them.
    """

    folder: Path
    home: Path
    copy: bool = False
    notes: dict[str, None] = field(default_factory=dict)
    _made: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    _files: dict[str, _Written] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def original(self, source: AudioSource) -> dict[str, Any]:
        """The clip without edits, played from where it lies; nothing to play where it is computed.

        Returns
        -------
        dict
            `name`, and where it can be played `src`, and `start` and `end` (s) of a part.
        """
        clip = source.clip
        if not isinstance(clip, AudioRef):
            return {"name": "computed by the task"}
        found: dict[str, Any] = {"name": Path(clip.path).name}
        if Path(clip.path).suffix.lower() in _PLAYED and os.path.isfile(clip.path):
            found["src"] = self._reference(clip.path)
            found |= {k: v for k, v in (("start", clip.start), ("end", clip.end)) if v is not None}
        return found

    def heard(self, source: AudioSource, original: AudioSource, rate: int) -> dict[str, Any] | None:
        """Render a clip as it was heard and as it was, and draw both; None where one is unreadable.

        Returns
        -------
        dict
            `heard` and `original`, each `src`, `seconds`, `picture`; `rate` (Hz); `marks`, of what
            the edits did; `moved`, where what lay in the original does not lie there any more.
        """
        try:
            names = _name(source, rate), _name(original, rate)
            if names not in self._made:
                self._made[names] = self._render(source, original, rate, names)
            return self._made[names]
        except AudioError as error:
            self.notes.setdefault(f"not rendered: {one_line(error)}")
            return None

    def attention(self, run: str, captured: Captured, key: tuple[str, str]) -> Attended | None:
        """Pictures of a prompt's attention, as `Captured.write` tells; None where it has none."""
        return captured.write(key, self.folder / "attention" / run, self.folder)

    def _render(
        self, source: AudioSource, original: AudioSource, rate: int, names: tuple[str, str]
    ) -> dict[str, Any]:
        plain = self._written(names[1], original, rate)
        heard = plain
        if names[0] != names[1]:
            heard = self._written(names[0], source, rate, plain.loudest)
        return {
            "heard": heard.record,
            "original": plain.record,
            "rate": rate,
            "marks": heard.seen.marks,
            "moved": heard.seen.moved or source.clip != original.clip,
        }

    def _written(self, name: str, source: AudioSource, rate: int, loudest: float = 0.0) -> _Written:
        """Write a clip and its picture; shades reach up to what is loudest here or was before."""
        import soundfile

        if name in self._files:
            return self._files[name]
        seen = marks.Seen()
        edits = tuple(marks.Watched(edit, seen) for edit in source.edits)
        wave = audio.render(AudioSource(source.clip, edits), rate)
        power = spectrogram.mel_power(wave, rate)
        loudest = max(loudest, float(power.max(initial=0.0)))
        target = self.folder / "clips" / f"{name}.flac"
        target.parent.mkdir(exist_ok=True)
        # 16 bits: what a loudspeaker gets. Samples beyond full scale are cut there as well.
        out = io.BytesIO()
        soundfile.write(out, np.clip(wave, -1, 1), rate, format="FLAC", subtype="PCM_16")
        write_bytes(target, out.getvalue())
        write_bytes(target.with_suffix(".png"), spectrogram.picture(power, loudest))
        record = {
            "src": f"clips/{name}.flac",
            "picture": f"clips/{name}.png",
            "seconds": round(len(wave) / rate, 4),
        }
        return self._files.setdefault(name, _Written(record, loudest, seen))

    def _reference(self, path: str) -> str:
        if path not in self._names:
            self._names[path] = self._copied(path) if self.copy else _relative(path, self.home)
        return self._names[path]

    def _copied(self, path: str) -> str:
        digest = hashlib.blake2b(os.path.abspath(path).encode(), digest_size=8).hexdigest()
        target = self.folder / "audio" / f"{digest}{Path(path).suffix.lower()}"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
        return f"audio/{target.name}"


def _name(source: AudioSource, rate: int) -> str:
    """Stem of a clip's files: equal clips have one name."""
    return hashlib.blake2b(audio.digest(source, rate).encode(), digest_size=12).hexdigest()


def _relative(path: str, home: Path) -> str:
    """The recording as a URL relative to the report; absolute where another drive holds it."""
    try:
        found = os.path.relpath(os.path.abspath(path), os.path.abspath(home))
    except ValueError:
        return Path(path).absolute().as_uri()
    return quote(found.replace(os.sep, "/"))
