"""MCQ-ORDER: naming the event that comes immediately after a given one.

The task builds its questions in memory. `python -m lalm_bench.tasks.order CSV OUT.jsonl` writes
them in the published format for use elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_bench.errors import BenchError, DataError, one_line
from lalm_bench.tasks.order.rules import BuildReport, NextEventRules
from lalm_bench.tasks.records import write_records
from lalm_bench.tasks.strong_captions import StrongCaptions, TimelineMCQ, demand_questions


@dataclass(kw_only=True)
class McqOrder(NextEventRules, TimelineMCQ):
    """MCQ-ORDER over TACOS, or over any other source of strong captions."""

    def __post_init__(self) -> None:
        NextEventRules.__post_init__(self)
        TimelineMCQ.__post_init__(self)


def from_csv(path: str | Path, rules: NextEventRules) -> tuple[list[dict[str, Any]], BuildReport]:
    """Questions from a strong-caption table.

    Raises
    ------
    DataError
        The table cannot be read, lacks a column or gives no question.
    """
    table = StrongCaptions(root="", annotations=str(path), audio_root="")
    records, report = demand_questions(table, rules, table.rows())
    return records, BuildReport(**report)  # type: ignore[arg-type]


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
