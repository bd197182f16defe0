"""Reading the items of a benchmark as its authors publish them: JSON, JSON lines or Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lalm_bench import prompts
from lalm_bench.errors import DataError, one_line
from lalm_bench.types import Choice


def read_items(path: str | Path) -> list[tuple[str, dict[str, Any]]]:
    """Every object of a file, with where it stands.

    Parameters
    ----------
    path : path
        .json (a list of objects), .jsonl, or .parquet.

    Returns
    -------
    list of (str, dict)
        "FILE item 3 ('its id')", and the object.

    Raises
    ------
    DataError
        The file cannot be read, or holds something else.
    """
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            rows: list[Any] = _parquet(path)
        elif path.suffix == ".jsonl":
            with open(path, encoding="utf-8-sig") as file:
                rows = [json.loads(line) for line in file if line.strip()]
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
    items = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path} item {number}: not an object; fetch the published file again")
        items.append((f"{path} item {number} ({row.get('id')!r})", row))
    return items


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
    if not isinstance(texts, list) or not all(isinstance(t, str | int | float) for t in texts):
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
