"""Answers and what was said of them, from judged runs and from tables: what `check` compares.

Read are: the folder of a judged run, a table with one column a field (or one for each field and
judge, `rating[anna]`), JASCO's evaluation table with a judge's column, and SAKURA's result file
(JSON by recording, with the judge's `Judgement`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lalm_bench.errors import DataError, one_line
from lalm_bench.judges.fields import BINARY, Field

# A number, a cell that is still to be read, or nothing.
Said = float | str | None

_JUDGED = re.compile(r"(.+?)\[(.+)\]")
_ANSWER = ("text", "allm_output", "response")
_TELLING = ("variant", "prompt", "question")
_NO_FIELD = frozenset({"id", "cluster", *_ANSWER, *_TELLING, "malformed", "verdict"})
_CORRECT = Field(name="correct", levels={"correct": 1, "incorrect": 0}, scale=BINARY)


@dataclass(frozen=True)
class Rated:
    """One answer and what each judge says of it.

    Parameters
    ----------
    where : str
        Where it stands, for messages.
    names : tuple of str
        What its item is called: its id, and its recording where that has a path.
    asked : frozenset of str
        What tells answers of one item apart: variant, prompt, question (any of them).
    said : mapping
        (judge, name of the field in small letters) -> number or cell; absent or None: not judged.
    malformed : frozenset of str
        Judges whose verdict lacks a part.
    text : str, optional
        The answer.
    position : int, optional
        Place of the right option, from 1.
    variant : str
        For a breakdown by what was asked.
    """

    where: str
    names: tuple[str, ...]
    asked: frozenset[str]
    said: Mapping[tuple[str, str], Said]
    malformed: frozenset[str] = frozenset()
    text: str | None = None
    position: int | None = None
    variant: str = ""
    cluster: str = ""


@dataclass(frozen=True)
class RatedFile:
    """All answers of one source. `fields` is empty where the source does not say what they are."""

    path: Path
    judges: tuple[str, ...]
    rows: list[Rated]
    fields: tuple[Field, ...] = field(default=())

    def columns(self) -> set[str]:
        """Names of what was said, in small letters."""
        return {name for row in self.rows for _, name in row.said}


def read(path: Path) -> RatedFile:
    """Read any of the forms above.

    Raises
    ------
    DataError
        It is none of them, or a row is bad; names the place.
    """
    if path.is_dir():
        found = _judged_run(path)
    elif path.suffix.lower() == ".json":
        found = _sakura(path)
    elif path.suffix.lower() == ".csv":
        found = _table(path)
    else:
        raise DataError(
            f"{path}: name the folder of a judged run (RUN/judge/RUBRIC), a .csv, or SAKURA's .json"
        )
    if not found.rows:
        raise DataError(f"{path}: has no rows; name a file with verdicts")
    return found


def _judged_run(folder: Path) -> RatedFile:
    from lalm_bench import runs
    from lalm_bench.store import read_json

    state = read_json(folder / "run.json") or {}
    if "judge" not in state or not (folder / "decisions.jsonl").is_file():
        raise DataError(f"{folder}: no judged run; name RUN/judge/RUBRIC, after stage=judge")
    fields = _fields(folder, state)
    rows: list[Rated] = []
    judges: dict[str, None] = {}
    for number, row in enumerate(runs.decisions(folder), 1):
        own = [m[2] for name in row if (m := _JUDGED.fullmatch(name)) and m[1] == "malformed"]
        judges |= dict.fromkeys(own)
        options = list(row.get("options") or {})
        target = row.get("target")
        listed = " ".join(f"({label}) {text}" for label, text in (row.get("options") or {}).items())
        question = str(row.get("question") or "")
        asked = {row.get("variant"), row.get("prompt"), question, f"{question} {listed}"}
        clips = [clip for clip in row.get("audio") or () if isinstance(clip, str)]
        rows.append(
            Rated(
                f"{folder / 'decisions.jsonl'} line {number}",
                (str(row["id"]), *[name for clip in clips[:1] for name in _recording(clip)]),
                _plain(asked),
                {(j, f.name.lower()): row.get(f"{f.name}[{j}]") for j in own for f in fields},
                frozenset(j for j in own if row[f"malformed[{j}]"]),
                str(row.get("text") or ""),
                options.index(target) + 1 if target in options else None,
                str(row.get("variant") or ""),
                str(row.get("cluster") or row["id"]),
            )
        )
    return RatedFile(folder, tuple(judges), rows, fields)


def _fields(folder: Path, state: Mapping[str, Any]) -> tuple[Field, ...]:
    """The rubric's fields, from the settings that the judged run keeps."""
    from hydra.utils import instantiate

    try:
        node = state["config"]["judge"]["rubric"]["parser"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / 'run.json'}: no rubric in it; run stage=judge again") from error
    # What a file names is only called when it is one of this package's parsers.
    if foreign := [name for name in _targets(node) if not name.startswith("lalm_bench.")]:
        raise DataError(f"{folder / 'run.json'}: parser {foreign[0]} is not this package's")
    return tuple(instantiate(node, _convert_="all").fields)


def _targets(node: object) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                yield str(value)
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _table(path: Path) -> RatedFile:
    from lalm_bench.tasks.jasco_files import EVALUATION, read_table

    rows = list(read_table(path, ("id",)))
    columns = list(rows[0][1]) if rows else []
    if {"id", "prompt", "allm_output"} <= set(columns) and not any(
        _JUDGED.fullmatch(name) or name in ("rating", "orientation") for name in columns
    ):
        return _jasco(path, rows)
    known = _NO_FIELD | set(EVALUATION)
    said = {}
    for name in columns:
        match = _JUDGED.fullmatch(name)
        column, judge = (match[1], match[2]) if match else (name, path.stem)
        if column.strip().lower() not in known:
            said[name] = (judge, column.strip().lower())
    found = [
        _row(where, row, {key: row[name] for name, key in said.items()}) for where, row in rows
    ]
    return RatedFile(path, tuple(dict.fromkeys(judge for judge, _ in said.values())), found)


def _row(
    where: str,
    row: Mapping[str, Any],
    said: Mapping[tuple[str, str], Said],
    malformed: frozenset[str] = frozenset(),
) -> Rated:
    """A table's row; what stands around the cells is read alike in all of them."""
    from lalm_bench.tasks.bad_rows import demand_whole

    demand_whole(dict(row), where)
    name = str(row["id"]).strip()
    if not name:
        raise DataError(f"{where}: 'id' is empty; name the item")
    telling = [row.get(column) or "" for column in _TELLING]
    text = next((row[column] for column in _ANSWER if row.get(column)), None)
    variant = next((word for word in telling if word.strip()), "")
    cluster = row.get("cluster") or name
    names = (name, *_recording(name))
    return Rated(where, names, _plain(telling), said, malformed, text, None, variant, cluster)


def _jasco(path: Path, rows: Sequence[tuple[str, dict[str, str]]]) -> RatedFile:
    """JASCO's evaluation table; each further column is a judge."""
    from lalm_bench.parsing.jasco import parser
    from lalm_bench.tasks.jasco_files import EVALUATION

    reader = parser()
    judges = [name for name in rows[0][1] if name not in EVALUATION]
    if not judges:
        raise DataError(f"{path}: no column with a judge's answers beside the published ones")
    found = []
    for where, row in rows:
        said: dict[tuple[str, str], Said] = {}
        malformed = set()
        for judge in judges:
            if (row[judge] or "").strip():  # an empty cell was not judged
                values = reader.parse(row[judge], {})
                said |= {(judge, name): value for name, value in values.items()}
                malformed |= {judge} if None in values.values() else set()
        found.append(_row(where, row, said, frozenset(malformed)))
    return RatedFile(path, tuple(judges), found, tuple(reader.fields))


def _sakura(path: Path) -> RatedFile:
    """SAKURA's result file; a Judgement that is neither correct nor incorrect is malformed."""
    from lalm_bench.tasks.sakura import split_options

    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({one_line(error)}); mend the file") from error
    if isinstance(content, dict) and isinstance(content.get("results"), dict):
        content = content["results"]
    if not isinstance(content, dict):
        raise DataError(f"{path}: must be an object with one entry a recording")
    found = []
    for clip, entry in content.items():
        where = f"{path} entry {clip!r}"
        needed = ("instruction", "response", "label", "Judgement")
        absent = [name for name in needed if not isinstance(entry, dict) or name not in entry]
        if absent:
            raise DataError(f"{where}: no {absent[0]!r}; name a result file of SAKURA's judge")
        question, choices = split_options(str(entry["instruction"]))
        value = {"correct": 1.0, "incorrect": 0.0}.get(str(entry["Judgement"]).strip().lower())
        right = str(entry["label"]).strip()
        shown = [f"({c.label}) {c.text}" for c in choices]
        found.append(
            Rated(
                where,
                (clip, *_recording(clip)),
                _plain([question, entry["instruction"]]),
                {(path.stem, "correct"): value},
                frozenset() if value is not None else frozenset({path.stem}),
                str(entry["response"]),
                shown.index(right) + 1 if right in shown else None,
                "",
                clip,
            )
        )
    return RatedFile(path, (path.stem,), found, (_CORRECT,))


def _recording(name: str) -> tuple[str, ...]:
    """`data/Animal/audio/x.wav` is Animal/x.wav, wherever the data lie."""
    parts = PurePosixPath(name).parts
    return (f"{parts[-3]}/{parts[-1]}",) if len(parts) >= 3 else ()


def _plain(texts: Any) -> frozenset[str]:
    return frozenset(plain for text in texts if (plain := " ".join(str(text or "").split())))
