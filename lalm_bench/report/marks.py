"""Stretches of time that a spectrogram is marked with: edits, annotated events, grounding spans."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lalm_bench.parsing.spans import parse_spans
from lalm_bench.types import AudioEdit, AudioRef, Clip, Sample

MASKED, SPOKEN, EVENT, SPEECH, TRUE, PREDICTED = (
    *("masked", "spoken", "event", "speech", "true", "predicted"),
)
_MOST_MARKS = 400
Mark = dict[str, Any]


def mark(kind: str, start: float, end: float, text: str = "") -> Mark:
    """One stretch, seconds."""
    return {"kind": kind, "start": round(float(start), 4), "end": round(float(end), 4)} | (
        {"text": text} if text else {}
    )


@dataclass
class Seen:
    """What the edits of one clip did to its time axis; filled while they are applied.

    `moved` is True where an edit changed the clip's length: stretches of the original do not lie
    where they lay.
    """

    marks: list[Mark] = field(default_factory=list)
    moved: bool = False


@dataclass(frozen=True)
class Watched:
    """An edit that notes where it changed the clip; it changes it as it would alone."""

    edit: AudioEdit
    seen: Seen

    @property
    def seed(self) -> int:
        """Seed of the edit."""
        return self.edit.seed

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """As the edit, shape (samples,) -> (samples,)."""
        edited = self.edit(wave, rate, rng)
        if len(edited) != len(wave):
            self.seen.marks.clear()
            self.seen.moved = True
        self.seen.marks += _places(self.edit, wave, edited, rate)
        return edited


def _places(edit: AudioEdit, before: np.ndarray, after: np.ndarray, rate: int) -> Iterable[Mark]:
    """Where an edit says it worked: `chosen` samples (mask), or `spoken_at_<i>` of its facts."""
    if (chosen := getattr(edit, "chosen", None)) is not None:
        masked = chosen(len(before), rate, np.random.default_rng(edit.seed))
        for start, end in runs_of(masked):
            yield mark(MASKED, start / rate, end / rate)
    if (facts := getattr(edit, "facts", None)) is not None:
        found = facts(before, after, rate)
        length = found.get("spoken_samples", 0.0)
        for name, start in found.items():
            if name.startswith("spoken_at_"):
                yield mark(SPOKEN, start / rate, (start + length) / rate)


def runs_of(chosen: np.ndarray) -> list[tuple[int, int]]:
    """First and past-the-last index of each run of True in a bool array of shape (samples,).

    Examples
    --------
    >>> runs_of(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    steps = np.diff(np.concatenate([[0], np.asarray(chosen, np.int8), [0]]))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


@dataclass(frozen=True)
class Annotations:
    """Events by recording, where a task's source has strong captions.

    Parameters
    ----------
    rows : mapping of str to list of Mark
        By file name.
    """

    rows: Mapping[str, list[Mark]] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Any) -> Annotations:
        """The annotations that a task was made from; none for a task that has no such source."""
        source = getattr(task, "source", None)
        if source is None or not hasattr(source, "rows"):
            return cls()
        found: dict[str, list[Mark]] = {}
        for name, text, onset, offset in source.rows():
            try:
                start, end = float(onset), float(offset)
            except ValueError:  # a bad row, which the run itself reports
                continue
            if math.isfinite(start) and math.isfinite(end):
                found.setdefault(name.strip(), []).append(mark(EVENT, start, end, text))
        return cls(found)

    def events(self, sample: Sample, clip: Clip) -> list[Mark]:
        """Events annotated in a clip: by its recording, or as a computed clip lists its sounds."""
        names = [sample.cluster, *([Path(clip.path).name] if isinstance(clip, AudioRef) else [])]
        for name in names:
            if name in self.rows:
                return _within(self.rows[name], clip)[:_MOST_MARKS]
        if (scene := getattr(clip, "scene", None)) is not None:
            sounds = scene().events
            return [mark(EVENT, e.onset, e.offset, str(e.key)) for e in sounds][:_MOST_MARKS]
        return []


def _within(marks: Sequence[Mark], clip: Clip) -> list[Mark]:
    """Events on the time axis of a clip that is a part of its recording."""
    if not isinstance(clip, AudioRef) or (clip.start is None and clip.end is None):
        return list(marks)
    first, last = clip.start or 0.0, math.inf if clip.end is None else clip.end
    return [
        mark(m["kind"], max(m["start"], first) - first, min(m["end"], last) - first, m["text"])
        for m in marks
        if m["end"] > first and m["start"] < last
    ]


def spans(sample: Sample, text: str | None) -> list[Mark]:
    """Speech that an item states, and true and predicted spans where spans are the answer."""
    found = [mark(SPEECH, a, b) for a, b in _pairs(sample.meta.get("speech"))]
    if not sample.choices and (true := _pairs(sample.target)):
        found += [mark(TRUE, a, b) for a, b in true]
        found += [mark(PREDICTED, a, b) for a, b in parse_spans(text or "").spans]
    return found[:_MOST_MARKS]


def _pairs(value: object) -> list[tuple[float, float]]:
    """The value as spans, where it is a list of pairs of numbers."""
    if not isinstance(value, list | tuple):
        return []
    found = []
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            return []
        start, end = pair
        if not all(isinstance(x, int | float) and math.isfinite(x) for x in (start, end)):
            return []
        found.append((float(start), float(end)))
    return found
