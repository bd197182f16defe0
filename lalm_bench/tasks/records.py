"""The JSONL contract of multiple-choice questions, and the task for any file that keeps it.

One object a line: `id`, `audio_filename`, `question`, `options` (each with `label`, `text`, `type`
and maybe `event_index`), `answer_label`, `answer_text`, and maybe `task_id`. More fields may
follow. Labels may have gaps, since reviewers delete options without relabelling.
Source: the record format of TACoBeLAL.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_bench.errors import DataError
from lalm_bench.tasks.bad_rows import bad_row
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.tasks.published_items import fact
from lalm_bench.types import AudioRef, Choice, Sample

DEFAULT_TASK_ID = "MCQ-ORDER"
_TEXTS = ("id", "audio_filename", "question", "answer_label", "answer_text")


@dataclass(frozen=True, slots=True)
class Option:
    """One option; `event_index` is its rank in a timeline where it has one."""

    label: str
    text: str
    type: str
    event_index: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One checked question; `raw` is the whole line with all that the contract leaves open."""

    id: str
    audio_filename: str
    question: str
    options: tuple[Option, ...]
    answer_label: str
    task_id: str
    raw: Mapping[str, Any]


def read_records(path: str | Path) -> list[Record]:
    """Every question of a file, checked.

    Raises
    ------
    DataError
        The file cannot be read or holds no question; a line breaks the contract, repeats an id or
        has another task id than the first. Names file, line, id where known, and the remedy.
    """
    records = []
    for _, record in read_lines(path):
        if isinstance(record, DataError):
            raise record
        records.append(record)
    return records


def read_lines(path: str | Path) -> Iterator[tuple[str, Record | DataError]]:
    """Every line of a file: its id (or "line 3"), and its question or what is wrong with it.

    Raises
    ------
    DataError
        The file cannot be read or holds no question, repeats an id, or mixes task ids.
    """
    seen: dict[str, int] = {}
    task_id = None
    for number, line in _lines(path):
        where, name = f"{path} line {number}", f"line {number}"
        record: Record | DataError
        try:
            raw = _decoded(line, where)
            name = _name(raw) or name
            record = parse_record(raw, where)
        except DataError as error:
            record = error
        if name in seen:
            raise DataError(
                f"{where}: id {name!r} stands in line {seen[name]} already; rename or delete one"
            )
        seen[name] = number
        if isinstance(record, Record):
            task_id = task_id or record.task_id
            if record.task_id != task_id:
                raise DataError(
                    f"{where}: {name!r} has task_id {record.task_id!r}, the file began with "
                    f"{task_id!r}; split the file by task_id"
                )
        yield name, record
    if not seen:
        raise DataError(f"{path}: holds no question; build it again or set task.dataset")


def parse_record(raw: Any, where: str) -> Record:
    """One question from its JSON object.

    Parameters
    ----------
    raw : Any
        Decoded JSON.
    where : str
        File and line, for the message.

    Raises
    ------
    DataError
        A field is missing, empty or of the wrong type; labels repeat; the answer is no option.
    """
    if not isinstance(raw, dict):
        raise DataError(f"{where}: not a JSON object; write one question a line")
    if isinstance(raw.get("id"), str):
        where += f" ({raw['id']!r})"
    texts = {name: _text(raw, name, where) for name in _TEXTS}
    listed = raw.get("options")
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{where}: 'options' must be a non-empty list; add the options")
    options = tuple([_option(o, f"{where} option {i}") for i, o in enumerate(listed, 1)])
    by_label = {option.label: option for option in options}
    if len(by_label) != len(options):
        raise DataError(
            f"{where}: two options share a label ({', '.join([o.label for o in options])}); "
            "relabel them"
        )
    answer = by_label.get(texts["answer_label"])
    if answer is None:
        raise DataError(
            f"{where}: answer_label {texts['answer_label']!r} is none of "
            f"{', '.join(by_label)}; mend answer_label or options"
        )
    if answer.text.split() != texts["answer_text"].split():
        raise DataError(
            f"{where}: answer_text {texts['answer_text']!r} is not the text of option "
            f"{answer.label}, {answer.text!r}; mend answer_label or answer_text"
        )
    task_id = raw.get("task_id")
    return Record(
        texts["id"],
        texts["audio_filename"],
        texts["question"],
        options,
        answer.label,
        task_id.strip() if isinstance(task_id, str) and task_id.strip() else DEFAULT_TASK_ID,
        raw,
    )


def to_sample(record: Record, audio_root: str | Path, groups: Sequence[str] = ()) -> Sample:
    """The question as the benchmark asks it; items of one recording form a cluster.

    `groups` names further fields of the record to carry in `meta`; DataError when one is absent.
    """
    types = {option.label: option.type for option in record.options}
    meta: dict[str, Any] = {
        "task_id": record.task_id,
        "answer_type": types[record.answer_label],
        "option_types": types,
    }
    for name in groups:
        if name not in meta and name not in record.raw:
            raise DataError(
                f"{record.id}: no field {name!r} to group by; it has {', '.join(record.raw)}; "
                "mend task.groups"
            )
        meta.setdefault(name, fact(record.raw.get(name)))
    return Sample(
        record.id,
        (AudioRef(os.path.join(audio_root, record.audio_filename)),),
        record.question,
        tuple([Choice(option.label, option.text) for option in record.options]),
        record.answer_label,
        record.audio_filename,
        meta,
    )


def write_records(records: Iterable[Mapping[str, Any]], path: str | Path) -> None:
    """Write one JSON object a line; a reader never meets a half-written file.

    Raises
    ------
    DataError
        The folder cannot be written to.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "w", encoding="utf-8", newline="\n") as file:
                for record in records:
                    file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from error


@dataclass(kw_only=True)
class RecordedMCQ(MultipleChoice):
    """Any file that keeps the contract above.

    Parameters
    ----------
    dataset : str
        JSONL file.
    audio_root : str
        Folder to which `audio_filename` is relative.
    """

    dataset: str
    audio_root: str

    def missing(self, audio: bool) -> list[str]:
        """The questions, and the recordings when the model hears."""
        needed = []
        if not Path(self.dataset).is_file():
            needed.append(f"{self.dataset}: no such question file; set task.dataset=FILE.jsonl")
        if audio and not Path(self.audio_root).is_dir():
            needed.append(
                f"{self.audio_root}: no such audio folder; set task.audio_root=FOLDER "
                "to where the recordings lie"
            )
        return needed

    def inputs(self) -> list[Path]:
        """The question file."""
        return [Path(self.dataset)]

    def samples(self) -> list[Sample]:
        """Questions in the order of the file; a bad line is an item with a fault."""
        items = []
        for name, record in read_lines(self.dataset):
            try:
                if isinstance(record, DataError):
                    raise record
                items.append(to_sample(record, self.audio_root, self.groups))
            except DataError as error:
                items.append(bad_row(name, error))
        return items


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); set task.dataset to a question file"
        ) from error


def _decoded(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: not JSON ({error.msg}, column {error.colno}); mend or delete the line"
        ) from error


def _name(raw: Any) -> str | None:
    name = raw.get("id") if isinstance(raw, dict) else None
    return name if isinstance(name, str) and name.strip() else None


def _option(raw: Any, where: str) -> Option:
    if not isinstance(raw, dict):
        raise DataError(f"{where}: not a JSON object; give it label, text and type")
    index = raw.get("event_index")
    if index is not None and (not isinstance(index, int) or isinstance(index, bool)):
        raise DataError(f"{where}: event_index {index!r} is no whole number; mend or drop it")
    label, text, kind = [_text(raw, name, where) for name in ("label", "text", "type")]
    return Option(label, text, kind, index)


def _text(raw: dict[str, Any], name: str, where: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value.strip():
        fault = "is missing" if name not in raw else "must be a non-empty string"
        raise DataError(f"{where}: {name!r} {fault}; add it")
    return value
