"""JASCO's tables: the published answers, the evaluation table of a run, and judged tables."""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from lalm_bench import audio
from lalm_bench.errors import BenchError, DataError, one_line
from lalm_bench.parsing.jasco import Verdict, verdict
from lalm_bench.store import read_json
from lalm_bench.tasks.bad_rows import demand_whole
from lalm_bench.tasks.jasco_judged import judged_rows

COLUMNS = (
    *("audio_id", "Audio", "Speech", "Audio-Only Answer", "Speech-Only Answer"),
    *("Correct Answer", "Correct Answer Keyword"),
)
# The published evaluation table; a judge appends a column with its raw answers.
EVALUATION = (
    *("id", "audio", "n_frames", "audio_sound", "spoken_text", "prompt", "with_speech"),
    *("audio_only_target", "speech_only_target", "target_keywords", "tgt_text", "allm_output"),
)
_COPIED = (
    *("audio_sound", "spoken_text", "audio_only_target", "speech_only_target", "target_keywords"),
)
Verdicts = dict[str, dict[tuple[str, str], tuple[Verdict, str | None]]]


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a CSV with where they stand ("FILE row 2").

    Raises
    ------
    DataError
        The file cannot be read, is not UTF-8, or lacks a column.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            absent = [name for name in columns if name not in (reader.fieldnames or ())]
            if absent:
                raise DataError(
                    f"{path}: no column {absent[0]!r}; it has {', '.join(reader.fieldnames or ())}"
                )
            for row in reader:
                yield f"{path} row {reader.line_num}", row
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save the table as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({one_line(error)}); mend the file") from error


def read_verdicts(paths: Iterable[str]) -> Verdicts:
    """What judges said, by judge and (item id, instruction), with the answer they judged.

    A judge is called by its file's name, and also by its column where a file has several.

    Raises
    ------
    DataError
        A table has no judge's column, two judges one name, or one answer two verdicts.
    """
    found: Verdicts = {}
    for path in map(Path, paths):
        rows = list(read_table(path, ("id", "prompt")))
        for where, row in rows:
            demand_whole(row, where)
        columns = [name for name in (rows[0][1] if rows else ()) if name not in EVALUATION]
        if not columns:
            raise DataError(f"{path}: no column with a judge's answers beside the published ones")
        for column in columns:
            judge = path.stem if len(columns) == 1 else f"{path.stem}.{column}"
            if judge in found:
                raise DataError(f"{path}: a second judge is called {judge!r}; rename the file")
            found[judge] = {}
            for where, row in rows:
                key = (row["id"].strip(), " ".join(row["prompt"].split()))
                if key in found[judge]:
                    raise DataError(f"{where}: item '{key[0]}' has this prompt twice; keep one row")
                if row[column].strip():  # an empty cell was not judged
                    found[judge][key] = (verdict(row[column]), row.get("allm_output"))
    return found


def read_segments(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Where there is speech, by audio_id: (start, end) in seconds, in order.

    Raises
    ------
    DataError
        The table cannot be read, lacks a column, or a segment is no stretch of time; names the row.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for where, row in read_table(path, ("audio_id", "start", "end")):
        try:
            start, end = float(row["start"]), float(row["end"])
        except (TypeError, ValueError):
            start = end = math.nan
        if not 0 <= start < end < math.inf:
            raise DataError(
                f"{where}: start {row['start']!r} and end {row['end']!r} must be seconds, the "
                "start before the end"
            )
        found.setdefault((row["audio_id"] or "").strip(), []).append((start, end))
    return {clip: sorted(segments) for clip, segments in found.items()}


def evaluation_rows(folder: Path) -> list[dict[str, Any]]:
    """A run's answers as rows of the published evaluation table, in the run's order.

    A run judged with the rubric jasco has a column more for each judge, named after it; that of a
    single judge has the published name.

    Parameters
    ----------
    folder : Path
        Of a run with `task=jasco`.

    Raises
    ------
    DataError
        It is no such folder, a recording is gone, or verdicts are not on these answers.
    """
    config = (read_json(folder / "run.json") or {}).get("config", {})
    instructions = config.get("task", {}).get("instructions")
    decisions = folder / "decisions.jsonl"
    if not instructions or not decisions.is_file():
        raise DataError(f"{folder}: not the folder of a finished run with task=jasco")
    judged = judged_rows(folder, EVALUATION)
    rows = []
    for line in decisions.read_bytes().splitlines():
        row = orjson.loads(line)
        clip = row["audio"][0]
        rows.append(
            {
                "id": row["id"],
                "audio": f"{{data_folder}}/{Path(clip).name}",
                "n_frames": audio.probe(clip)[0],
                **{name: row[name] for name in _COPIED},
                "prompt": instructions[int(row["variant"].removeprefix("instruction=")) - 1],
                "with_speech": True,
                "tgt_text": row["target"],
                "allm_output": row["text"],
                **judged.cells(row),
            }
        )
    return rows


def write_evaluation(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the evaluation table; a reader never meets a half-written one.

    Raises
    ------
    DataError
        The file exists (it may hold verdicts), or the folder cannot be written to.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    if path.exists():
        raise DataError(f"{path}: is there already and may hold verdicts; name another file")
    try:
        with open(part, "w", newline="", encoding="utf-8") as file:
            judges = [name for name in (rows[0] if rows else ()) if name not in EVALUATION]
            writer = csv.DictWriter(file, [*EVALUATION, *judges])
            writer.writeheader()
            writer.writerows(rows)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Write a run's evaluation table; 2 when the input is at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m lalm_bench.tasks.jasco",
        description="Write a JASCO run's answers, and the verdicts that it has got, as the "
        "published evaluation table.",
    )
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("out", type=Path, help="CSV to write")
    args = parser.parse_args(argv)
    try:
        rows = evaluation_rows(args.run)
        write_evaluation(rows, args.out)
    except BenchError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"{args.out}: {len(rows)} answers")
    return 0
