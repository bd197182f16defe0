"""Reading the items of a benchmark as its authors publish them: JSON, JSON lines or Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lalm_bench import prompts
from lalm_bench.errors import DataError, one_line
from lalm_bench.tasks.bad_rows import bad_row
from lalm_bench.types import Choice, Sample

Row = dict[str, Any]


def read_items(path: str | Path) -> list[tuple[str, Row]]:
    """Every object of a file, with where it stands ("FILE item 3 ('its id')").

    Parameters
    ----------
    path : path
        .json (a list of objects), .jsonl, or .parquet.

    Raises
    ------
    DataError
        The file cannot be read, or holds something else.
    """
    placed = [(_where(path, n, row), row) for n, row in enumerate(_rows(Path(path)), 1)]
    return [(where, _object(row, where)) for where, row in placed]


def read_samples(
    path: str | Path, make: Callable[[int, str, Row], Sample | None]
) -> Iterator[Sample]:
    """What `make` makes of each row; a row that it refuses is an item with a fault.

    Parameters
    ----------
    path : path
        As for `read_items`.
    make : callable
        (place in the file from 0, where it stands, row) -> item, or None to leave the row out;
        DataError for a bad one.

    Raises
    ------
    DataError
        The file cannot be read, or holds something else.
    """
    for index, row in enumerate(_rows(Path(path))):
        where = _where(path, index + 1, row)
        try:
            sample = make(index, where, _object(row, where))
        except DataError as error:
            named = plain(row.get("id")) if isinstance(row, dict) else None
            sample = bad_row(named or f"item {index + 1}", error)
        if sample is not None:
            yield sample


def _rows(path: Path) -> list[Any]:
    """Rows as they are; of JSON lines, text that is no JSON is a row of its own."""
    try:
        if path.suffix == ".parquet":
            rows: list[Any] = _parquet(path)
        elif path.suffix == ".jsonl":
            with open(path, encoding="utf-8-sig") as file:
                rows = [_line(line) for line in file if line.strip()]
        else:
            rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); mend the path") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise DataError(
            f"{path}: not UTF-8 JSON ({one_line(error)}); fetch the published file again"
        ) from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: holds no list of items; fetch the published file again")
    return rows


def _line(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return line


def _object(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{where}: not a JSON object; mend it or fetch the published file again")
    return row


def _where(path: str | Path, number: int, row: Any) -> str:
    name = f" ({row.get('id')!r})" if isinstance(row, dict) else ""
    return f"{path} item {number}{name}"


def text_of(row: Mapping[str, Any], name: str, where: str) -> str:
    """A field that must hold a text.

    Raises
    ------
    DataError
        It is absent, empty or no text.
    """
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {name!r} must be a text, not {value!r}; mend or drop the item")
    return value.strip()


def fact(value: Any) -> str | int | float | None:
    """A number or text to group by as it is; what cannot be one, such as a list, as text."""
    return value if isinstance(value, str | int | float) and value == value else plain(value)


def plain(value: Any) -> str | None:
    """A fact to group by: the text itself, the members of a list joined by ", ", or None."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join([str(v) for v in value]) or None
    return None if value is None or value != value else str(value)


def lettered(texts: Any, answer: Any, where: str) -> tuple[tuple[Choice, ...], str]:
    """Choices A, B, C, ... of a benchmark that writes its answer as a text, and the right label.

    Texts are compared exactly, white space at the ends aside. Published sets hold stray empty
    choices, which are left out, and repeat a choice now and then: the first of equal ones is the
    target, and naming the other is as right.

    Raises
    ------
    DataError
        `texts` is no list of texts or numbers, or none of them is the answer.
    """
    if not isinstance(texts, list) or not all(
        isinstance(t, str | int | float) and t == t for t in texts
    ):
        raise DataError(f"{where}: choices must be a list of texts; mend or drop the item")
    kept = [text for text in (str(t).strip() for t in texts) if text]
    choices = tuple([Choice(prompts.letter(i), text) for i, text in enumerate(kept)])
    right = [choice.label for choice in choices if choice.text == str(answer).strip()]
    if not right:
        raise DataError(
            f"{where}: the answer {answer!r} is none of its choices; mend or drop the item"
        )
    return choices, right[0]


def absent(file: str, folder: str | None, source: str) -> list[str]:
    """Instructions for what is not there.

    Parameters
    ----------
    file : str
        Questions.
    folder : str, optional
        Recordings, where the model hears them.
    source : str
        Where both come from.
    """
    needed = []
    if not Path(file).is_file():
        needed.append(f"{file}: no such file; {source} and set task.dataset")
    if folder is not None and not Path(folder).is_dir():
        needed.append(f"{folder}: no such folder; {source} and set task.audio_root")
    return needed


def _parquet(path: Path) -> list[Any]:
    from pyarrow import ArrowException, parquet  # type: ignore[import-untyped]

    try:
        # Embedded recordings would fill the memory; they are read from files.
        names = [n for n in parquet.read_schema(path).names if n != "audio"]
        rows: list[Any] = parquet.read_table(path, columns=names).to_pylist()
    except ArrowException as error:
        raise DataError(
            f"{path}: not Parquet ({one_line(error)}); fetch the published file again"
        ) from error
    return rows
