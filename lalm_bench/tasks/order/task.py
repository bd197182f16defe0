"""MCQ-ORDER: naming the event that comes immediately after a given one.

The task builds its questions in memory. `python -m lalm_bench.tasks.order CSV OUT.jsonl` writes
them in the published format for use elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lalm_bench.errors import BenchError, DataError, one_line
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.tasks.order.build import Record, build
from lalm_bench.tasks.order.rules import BuildReport, NextEventRules
from lalm_bench.tasks.order.timeline import read_annotations
from lalm_bench.tasks.records import parse_record, to_sample, write_records
from lalm_bench.types import Json, Sample


@dataclass(kw_only=True)
class McqOrder(NextEventRules, MultipleChoice):
    """MCQ-ORDER over TACOS, or over any strong-caption table with the same columns.

    Parameters
    ----------
    root : str
        Folder that the download fills.
    annotations : str
        CSV with filename, text, onset and offset (seconds).
    audio_root : str
        Folder of the recordings.
    """

    root: str
    annotations: str
    audio_root: str

    def __post_init__(self) -> None:
        NextEventRules.__post_init__(self)
        MultipleChoice.__post_init__(self)
        self._report = BuildReport()

    def missing(self, audio: bool) -> list[str]:
        """The captions, and the recordings when the model hears."""
        fetch = f"python -m lalm_bench.tasks.tacos {self.root}"
        elsewhere = "or set task.root to the folder that has it"
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
        """The strong captions."""
        return [Path(self.annotations)]

    def samples(self) -> list[Sample]:
        """Questions ordered by recording and event."""
        records, self._report = from_csv(self.annotations, self)
        return [
            to_sample(parse_record(record, self.annotations), self.audio_root, self.groups)
            for record in records
        ]

    def report(self) -> dict[str, Json]:
        """What every filter of the builder dropped."""
        return asdict(self._report)


def from_csv(path: str | Path, rules: NextEventRules) -> tuple[list[Record], BuildReport]:
    """Questions from a strong-caption table.

    Raises
    ------
    DataError
        The table cannot be read, lacks a column or gives no question.
    """
    records, report = build(read_annotations(path), rules)
    if not records:
        raise DataError(
            f"{path}: {report}; loosen the filters or give a table with more events a recording"
        )
    return records, report


def main(argv: Sequence[str] | None = None) -> int:
    """Write the questions of a table as JSONL; 2 when the input is at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m lalm_bench.tasks.order",
        description="Build MCQ-ORDER questions from strong captions.",
    )
    parser.add_argument("csv", help="table with filename, text, onset, offset")
    parser.add_argument("out", help="JSONL file to write")
    parser.add_argument("--compat", action="store_true", help="shuffle as in the published set")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--min-duration", type=float, default=0.5, help="seconds")
    parser.add_argument("--min-events", type=int, default=2, help="per recording")
    parser.add_argument("--onset-epsilon", type=float, default=0.05, help="seconds")
    parser.add_argument("--none-share", type=float, help="at most this share of none answers")
    parser.add_argument("--near-duplicate-ratio", type=float, help="e.g. 0.85")
    parser.add_argument("--max-options", type=int)
    settings = vars(parser.parse_args(argv))
    table, out = Path(settings.pop("csv")), Path(settings.pop("out"))
    try:
        if out.exists() and table.exists() and out.samefile(table):
            raise DataError(f"{out}: is the table itself; name another file to write")
        records, report = from_csv(table, NextEventRules(**settings))
        write_records(records, out)
    except BenchError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"{out}: {report}")
    return 0
