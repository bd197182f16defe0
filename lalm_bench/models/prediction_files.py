"""Files of answers made elsewhere: which forms are known, and how their rows are read.

A form is a row of `FORMS`: the columns that hold the item's id, the answer, and what tells several
answers of one item apart (a variant, or the prompt itself). A file is of the form whose id and
output columns it has. Columns of reference answers are in no form: they are never read as output.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lalm_bench.errors import ConfigError, DataError, one_line
from lalm_bench.identity import Sealer
from lalm_bench.types import Request, Text

_ASKED = Sealer({}, {}, rate=16_000, stochastic=False, seed=0)
# How a CSV cell writes a null; not "none", which is an option of some benchmarks.
_NULLS = frozenset({"nan", "null"})


@dataclass(frozen=True)
class Form:
    """Where a kind of file keeps what is needed.

    Parameters
    ----------
    name : str
    id, output : str
        Columns that such a file must have. An output may be a list, one entry a repeated run.
    variant, prompt : str, optional
        Columns that tell the answers of one item apart.
    failed : str, optional
        An output that begins with it reports a failure and is no answer.
    """

    name: str
    id: str
    output: str
    variant: str | None = None
    prompt: str | None = None
    failed: str | None = None


FORMS = (
    Form("(id, variant, output)", "id", "output", variant="variant"),
    Form("JASCO example.csv", "id", "allm_output", prompt="prompt"),
    Form("audio faithfulness", "id", "raw_model_outputs", failed="CRASH:"),
    Form("audio faithfulness, conditioned", "id", "raw_conditioned_output", failed="CRASH:"),
    Form("MMAU", "id", "model_output"),
    Form("MMAR", "id", "answer_prediction"),
)


def recognise(path: Path, columns: Iterable[str], wanted: Mapping[str, str | None]) -> Form:
    """The form of a file with these columns; names in `wanted` (id, variant, ...) come first.

    Raises
    ------
    DataError
        No form fits, or several do; the columns found and those wanted are named.
    """
    found = set(columns)
    named = {field: name for field, name in wanted.items() if name is not None}
    if named:
        form = replace(FORMS[0], **named)
        absent = {*named.values(), form.id, form.output} - found
        if not absent:
            return form
        raise DataError(
            f"{path}: no column {_listed(absent)} (see model.columns); it has {_listed(found)}"
        )
    fitting = [form for form in FORMS if {form.id, form.output} <= found]
    if len(fitting) == 1:
        return fitting[0]
    forms = "; ".join(f"{f.name}: {f.id}, {f.output}" for f in fitting or FORMS)
    problem = "columns of several forms" if fitting else "no known form"
    raise DataError(
        f"{path}: {problem}; it has the columns {_listed(found)}, and wanted are those of one of "
        f"[{forms}]; rename them or set model.columns.id and model.columns.output"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "(none)"


@dataclass(frozen=True)
class Row:
    """One answer of a file. `text` is None where the file has none; `request` may be absent."""

    place: int
    text: str | None
    request: str | None


@dataclass
class Answers:
    """The answers of a file by (item id, variant or prompt).

    Attributes
    ----------
    counts : Counter
        `rows`, `equal_duplicates` (same item, same output) and `empty` outputs.
    """

    form: Form
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    counts: Counter[str] = field(
        default_factory=lambda: Counter(rows=0, equal_duplicates=0, empty=0)
    )

    def names(self, request: Request) -> list[tuple[str, str]]:
        """Under which names this request's answer may stand in the file."""
        if self.form.prompt is None:
            return [(request.sample_id, request.variant)]
        parts = [p.text for m in request.messages for p in m.parts if isinstance(p, Text)]
        return [(request.sample_id, _plain(text)) for text in (request.question, " ".join(parts))]


def load(path: Path, wanted: Mapping[str, str | None], ids: str = "{id}", run: int = 0) -> Answers:
    """Read and check a whole file.

    Parameters
    ----------
    path : Path
        .csv, .tsv, .jsonl or .json (a list of objects), UTF-8.
    wanted : mapping
        Column names by id, variant, prompt, output; all None: the form is recognised.
    ids : str
        How the file's id becomes the item's, e.g. `jasco_{id}`.
    run : int
        Which entry counts where the output is a list.

    Raises
    ------
    DataError
        The file is malformed, of no known form, or answers one request in two ways.
    """
    rows = list(_read(path))
    if not rows:
        raise DataError(f"{path}: no rows; write one row an answer")
    answers = Answers(recognise(path, {name for _, row in rows for name in row}, wanted))
    form = answers.form
    for place, row in rows:
        where = f"{path} row {place}"
        name = _text(where, row.get(form.id))
        if not name:
            raise DataError(f"{where}: no {form.id}; every answer needs the id of its item")
        told_apart = row.get(form.prompt or form.variant or "")
        variant = _plain(_text(where, told_apart) or "")
        output = _output(where, row.get(form.output), run)
        if output is not None and form.failed and output.startswith(form.failed):
            output = None
        answers.counts["rows"] += 1
        answers.counts["empty"] += output == ""
        new = Row(place, output, _text(where, row.get("request")) or None)
        key = (ids.replace("{id}", name), variant)
        old = answers.rows.setdefault(key, new)
        if old is new:
            continue
        if old.text is not None and new.text is not None and old.text != new.text:
            raise DataError(
                f"{path}: item '{name}'{f' ({variant})' if variant else ''} has two different "
                f"outputs, in rows {old.place} and {place}; keep one"
            )
        answers.counts["equal_duplicates"] += old.text == new.text
        if old.text is None:
            answers.rows[key] = new
    return answers


def asked(request: Request) -> str:
    """Digest of what is asked: messages, clips with their edits, options, generation settings.

    The rate of the clips, the model and the run's seed do not enter.

    Raises
    ------
    AudioError
        A clip is not on this machine.
    """
    generation = replace(request.generation, seed=None)
    return _ASKED.seal(replace(request, generation=generation)).key


def _read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with the line (or, in a list, the entry) they stand in, from 1."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"model.path={path} must end in {', '.join(_READERS)}")
    try:
        yield from reader(path)
    except (csv.Error, UnicodeDecodeError, json.JSONDecodeError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({one_line(error)}); mend the file") from error


def _csv(path: Path, delimiter: str = ",") -> Iterator[tuple[int, dict[str, Any]]]:
    with _long_cells(), open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        for row in reader:
            if None in row:
                raise DataError(
                    f"{path} row {reader.line_num}: more cells than the header has; put outputs "
                    'that contain the separator into "quotes"'
                )
            cells = {k: None if v and v.strip().lower() in _NULLS else v for k, v in row.items()}
            yield reader.line_num, cells


@contextmanager
def _long_cells() -> Iterator[None]:
    """A chain of thought may be longer than the 131,072 characters that csv allows a process."""
    before = csv.field_size_limit(1 << 30)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, _object(path, number, json.loads(line))
                except json.JSONDecodeError as error:
                    raise DataError(f"{path} row {number}: not JSON ({error}); mend it") from error


def _json(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, list):
        raise DataError(f"{path}: must be a list of objects, one an answer")
    yield from ((n, _object(path, n, row)) for n, row in enumerate(content, 1))


_READERS = {
    ".csv": _csv,
    ".tsv": lambda path: _csv(path, "\t"),
    ".jsonl": _jsonl,
    ".json": _json,
}


def _object(path: Path, number: int, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{path} row {number}: not an object; each answer is one object")
    return row


def _output(where: str, value: Any, run: int) -> str | None:
    if not isinstance(value, list):
        return _text(where, value)
    if run >= len(value):
        raise DataError(f"{where}: {len(value)} runs, so model.run={run} is not among them")
    return _text(where, value[run])


def _text(where: str, value: Any) -> str | None:
    """The cell as text; None for a null."""
    if value is None or value != value:  # null, or JSON's unofficial NaN
        return None
    if isinstance(value, dict | list):
        raise DataError(f"{where}: {json.dumps(value)[:60]} is no text; name another column")
    return str(value)


def _plain(text: str) -> str:
    return " ".join(text.split())
