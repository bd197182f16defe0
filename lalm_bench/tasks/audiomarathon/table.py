"""Questions in one JSON table beside the recordings: eight of the ten tasks.

The tables agree in what they hold and not in how they call it, so the names are settings.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.prompts import letter
from lalm_bench.tasks.audiomarathon.choice import LongAudioChoice
from lalm_bench.tasks.bad_rows import bad_row
from lalm_bench.tasks.published_items import fact
from lalm_bench.types import AudioRef, Choice, Sample


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of a table's fields.

    Parameters
    ----------
    audio : str
        Path of the recording below the task's `audio_root`.
    question : str
    options : str or sequence of str
        One field with a list (labels A, B, ...) or an object (label -> text), or one field an
        option.
    answer : str
        The label or the whole text of the right option.
    id : str
        May be absent in the table: then the path and a digest of the question name the item.
    cluster : str
        What items share (passage, speaker); the recording where a row lacks it.
    meta : sequence of str
        Further fields to keep beside the decisions, where a row has them.
    """

    audio: str = "path"
    question: str = "question"
    options: str | Sequence[str] = ("choice_a", "choice_b", "choice_c", "choice_d")
    answer: str = "answer_gt"
    id: str = "uniq_id"
    cluster: str = "path"
    meta: Sequence[str] = ()


@dataclass(kw_only=True)
class QuestionTable(LongAudioChoice):
    """Items of a JSON list, or of a list inside a JSON object.

    Parameters
    ----------
    table : str
        File below `root`; a pattern like `*.json` where its name is not published.
    audio_root : str
        Folder to which the paths in the table are relative.
    rows : str, optional
        Key of the list, where the table is an object.
    fields : mapping
        Names that differ from those of `Fields`.
    path_words : mapping
        Name of a group -> words; an item belongs to the first word that its path contains.
    exclude : sequence of mapping
        Field -> values; an item that has one of the values in each named field is left out.
    """

    table: str
    audio_root: str
    rows: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    path_words: dict[str, list[str]] = field(default_factory=dict)
    exclude: list[dict[str, list[Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        known = {f.name for f in fields(Fields)}
        if unknown := sorted(set(self.fields) - known):
            raise ConfigError(
                f"task.fields.{unknown[0]}: no such setting; there are {', '.join(sorted(known))}"
            )
        self._names = Fields(**self.fields)
        super().__post_init__()

    def inputs(self) -> list[Path]:
        """The table."""
        return self._tables()[:1]

    def missing(self, audio: bool) -> list[str]:
        """The table, and the folder of recordings when the model hears."""
        found = self._tables()
        if len(found) > 1:
            listed = ", ".join(path.name for path in found[:4])
            return [f"{self.root} holds several tables ({listed}); set task.table=FILE"]
        absent = [] if found[0].is_file() else [f"{found[0]}: no such table"]
        if audio and not Path(self.audio_root).is_dir():
            absent.append(f"{self.audio_root}: no such folder of recordings")
        remedy = "run `python -m lalm_bench.data fetch audiomarathon DIR`, or set task.root"
        return [f"{what}; {remedy}" for what in absent]

    def _tables(self) -> list[Path]:
        return sorted(Path(self.root).glob(self.table)) or [Path(self.root, self.table)]

    def questions(self) -> Iterator[Sample]:
        """Items in the order of the table."""
        path = self._tables()[0]
        self._dropped["excluded"] = 0
        for number, row in enumerate(read_rows(path, self.rows), 1):
            if isinstance(row, dict) and self._excluded(row):
                self._dropped["excluded"] += 1
                continue
            named = _name(row.get(self._names.id)) if isinstance(row, dict) else None
            try:
                yield self._sample(row, named, f"{path} item {number}")
            except DataError as error:
                yield bad_row(named or f"item {number}", error)

    def _excluded(self, row: Mapping[str, Any]) -> bool:
        return any(
            all(str(row.get(name)) in {str(v) for v in values} for name, values in rule.items())
            for rule in self.exclude
        )

    def _sample(self, row: Any, named: str | None, where: str) -> Sample:
        if not isinstance(row, dict):
            raise DataError(f"{where}: not a JSON object; write one object an item")
        names = self._names
        if named:
            where += f" ({named!r})"
        text = partial(_text, row, where)
        file = text(names.audio)
        # A style that brings its own question does not need the item's.
        question = str(row.get(names.question)) if self._style.question else text(names.question)
        choices = _choices(row, names.options, where)
        target = _target(text(names.answer), choices, where)
        meta = {name: fact(row[name]) for name in names.meta if name in row}
        for group, words in self.path_words.items():
            meta[group] = next((word for word in words if word in file), "other")
        cluster = fact(row.get(names.cluster))
        return Sample(
            named or f"{file}#{_digest(question, choices)}",
            (AudioRef(os.path.join(self.audio_root, file)),),
            question,
            choices,
            target,
            file if cluster is None else str(cluster),
            meta,
        )


def read_rows(path: Path, key: str | None) -> list[Any]:
    """The list in a JSON file, or under `key` of its object.

    Raises
    ------
    DataError
        Not readable, not UTF-8, not JSON, not a list, or empty.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: not JSON ({error.msg}, line {error.lineno}); fetch it again"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); set task.root") from error
    if isinstance(content, dict) and key is not None:
        content = content.get(key)
    if not isinstance(content, list) or not content:
        place = "" if key is None else f" under {key!r}"
        raise DataError(f"{path}: no list of items{place}; restore the published table")
    return content


def _text(row: Mapping[str, Any], where: str, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        fault = "is missing" if name not in row else "must be a non-empty text"
        raise DataError(f"{where}: {name!r} {fault}; mend or drop the item")
    return value.strip()


def _name(value: Any) -> str | None:
    """An item's own name, text or whole number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def _digest(question: str, choices: Sequence[Choice]) -> str:
    content = "\x1f".join([question.strip(), *[c.text for c in choices]])
    return hashlib.blake2b(content.encode(), digest_size=4).hexdigest()


def _choices(row: Mapping[str, Any], names: str | Sequence[str], where: str) -> tuple[Choice, ...]:
    if isinstance(names, str):
        held = row.get(names)
        listed = held if isinstance(held, dict) else None
        if isinstance(held, list):
            listed = {letter(i): value for i, value in enumerate(held)}
        if listed is None:
            raise DataError(f"{where}: {names!r} must be a list or an object; mend the item")
    else:
        listed = {letter(i): _text(row, where, name) for i, name in enumerate(names)}
    if len(listed) < 2:
        raise DataError(f"{where}: {len(listed)} options; an item needs two or more")
    for label in listed:
        _text(listed, f"{where}, options", label)
    return tuple([Choice(str(label).strip(), text.strip()) for label, text in listed.items()])


def _target(answer: str, choices: Sequence[Choice], where: str) -> str:
    by_label = {c.label for c in choices if c.label.casefold() == answer.casefold()}
    found = by_label | {c.label for c in choices if c.text == answer}
    if len(found) == 1:
        return found.pop()
    fault = "is none of its options" if not found else f"fits options {', '.join(sorted(found))}"
    raise DataError(f"{where}: the answer {answer!r} {fault}; mend or drop the item")
