"""Temporal questions over any source of strong captions: recordings and who sounds when in them.

A source gives rows (file name, text, onset, offset) and a clip for every file name; rules turn the
rows into questions. `StrongCaptions` reads a table such as that of TACOS; `soundscape.Soundscapes`
draws its own scenes from labelled clips.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lalm_bench.errors import DataError
from lalm_bench.tasks.bad_rows import bad_row
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.tasks.order.timeline import Row, read_annotations, row_fault
from lalm_bench.tasks.records import parse_record, to_sample
from lalm_bench.types import AudioRef, Clip, Json, Sample


class Source(Protocol):
    """Recordings with temporal annotations."""

    def missing(self, audio: bool) -> list[str]:
        """What must be fetched first, one instruction each."""

    def inputs(self) -> list[Path]:
        """Files that determine the annotations."""

    def rows(self) -> list[Row]:
        """(file name, text, onset, offset), the latter two in seconds as text."""

    def bad_rows(self) -> list[Sample]:
        """An item with a fault for each row that places no sound; its cluster is the recording."""

    def clip(self, name: str) -> Clip:
        """The recording of that file name."""

    def __str__(self) -> str:
        """Where it lies, for messages."""


class Rules(Protocol):
    """How rows become questions."""

    def build(self, rows: Iterable[Row]) -> tuple[list[dict[str, Any]], dict[str, Json]]:
        """Questions as records (see `records`), and what every filter dropped."""


@dataclass(kw_only=True)
class StrongCaptions:
    """A table of strong captions beside a folder of recordings.

    Parameters
    ----------
    root : str
        Folder that the download of TACOS fills; only named in what is missing.
    annotations : str
        CSV with filename, text, onset and offset (seconds).
    audio_root : str
        Folder of the recordings.
    """

    root: str
    annotations: str
    audio_root: str

    def missing(self, audio: bool) -> list[str]:
        """The captions, and the recordings when the model hears."""
        fetch = f"python -m lalm_bench.tasks.tacos {self.root}"
        elsewhere = "or set task.source.root to the folder that has it"
        needed = []
        if not Path(self.annotations).is_file():
            option = "" if audio else " --skip-audio"
            needed.append(f"{self.annotations}: no such table; run `{fetch}{option}` {elsewhere}")
        if audio and not Path(self.audio_root).is_dir():
            needed.append(
                f"{self.audio_root}: no such folder; run `{fetch}` (1.6 GB of audio) {elsewhere}"
            )
        return needed

    def inputs(self) -> list[Path]:
        """The table."""
        return [Path(self.annotations)]

    def rows(self) -> list[Row]:
        """Cells of the table; DataError when it cannot be read or lacks a column."""
        return [row for _, row in read_annotations(self.annotations)]

    def bad_rows(self) -> list[Sample]:
        """Rows without a file name, a text or a span."""
        found = []
        for line, row in read_annotations(self.annotations):
            if any(map(str.strip, row)) and (fault := row_fault(row)):
                name = row[0].strip()
                where = f"{self.annotations} line {line} ({name})"
                error = DataError(f"{where}: {fault}; mend or drop the row")
                found.append(replace(bad_row(f"{name} line {line}".strip(), error), cluster=name))
        return found

    def clip(self, name: str) -> Clip:
        """The file of that name."""
        return AudioRef(os.path.join(self.audio_root, name))

    def __str__(self) -> str:
        return self.annotations


@dataclass(kw_only=True)
class TimelineMCQ(MultipleChoice):
    """Base of the multiple-choice tasks over a source; a subclass brings `build`.

    Parameters
    ----------
    source : Source
        Recordings and their annotations.
    """

    source: Source

    def __post_init__(self) -> None:
        super().__post_init__()
        self._report: dict[str, Json] = {}

    def missing(self, audio: bool) -> list[str]:
        """What the source lacks."""
        return self.source.missing(audio)

    def inputs(self) -> list[Path]:
        """Files of the source."""
        return self.source.inputs()

    def build(self, rows: Iterable[Row]) -> tuple[list[dict[str, Any]], dict[str, Json]]:
        """Questions and account of the rules that the subclass has."""
        raise TypeError(f"{type(self).__name__} must bring rules")

    def samples(self) -> list[Sample]:
        """Questions in the order of the rules, then bad rows, which are items with a fault.

        Published rules (`compat`) drop bad rows and ask about their recordings all the same.

        Raises
        ------
        DataError
            The source cannot be read, or gives no question.
        """
        rows: list[Row] = self.source.rows()
        bad: list[Sample] = []
        if not getattr(self, "compat", False):
            rows, bad = whole_recordings(self.source)
        if bad and not rows:
            return bad
        records, self._report = demand_questions(self.source, self, rows)
        return [*map(self._sample, records), *bad]

    def _sample(self, record: dict[str, Any]) -> Sample:
        parsed = parse_record(record, str(self.source))
        sample = to_sample(parsed, "", self.groups)
        cluster = record.get("cluster", sample.cluster)
        return replace(sample, audio=(self.source.clip(parsed.audio_filename),), cluster=cluster)

    def report(self) -> dict[str, Json]:
        """What every filter of the rules dropped."""
        return self._report


def whole_recordings(source: Source) -> tuple[list[Row], list[Sample]]:
    """Rows of the recordings without a bad row, and the bad rows.

    A sound that stands somewhere, but nobody knows where, may be what a question about its
    recording asks for.
    """
    bad = source.bad_rows()
    spoilt = {sample.cluster for sample in bad}
    return [row for row in source.rows() if row[0].strip() not in spoilt], bad


def demand_questions(
    source: Source, rules: Rules, rows: Iterable[Row]
) -> tuple[list[dict[str, Any]], dict[str, Json]]:
    """What the rules make of the rows of a source; DataError when that is nothing."""
    records, report = rules.build(rows)
    if not records:
        raise DataError(
            f"{source}: 0 questions ({account(report)}); loosen the filters or give a table with "
            "more events a recording"
        )
    return records, report


def account(counts: Mapping[str, Json]) -> str:
    """What the filters counted, on one line."""
    return ", ".join([f"{name} {count}" for name, count in counts.items() if count])
