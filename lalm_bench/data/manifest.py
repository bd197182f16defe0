"""`manifest`: the question list of the audio faithfulness study, from the benchmarks' own files.

The study's published list for MMAR found letters by substring search, so [Incorrect, Correct] with
the answer Correct got A. Here the letter is that of the one choice that equals the answer, white
space at the ends aside; a row with none or several is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lalm_bench.errors import DataError
from lalm_bench.prompts import letter
from lalm_bench.tasks.sakura import TRACKS, Sakura
from lalm_bench.types import AudioRef, Sample

BENCHMARKS = ("sakura", "mmau", "mmar")
Row = dict[str, Any]


def rows(benchmark: str, source: Path) -> Iterator[tuple[Row | None, str | None]]:
    """Each question as (row, None), or (None, why it was refused).

    Parameters
    ----------
    benchmark : str
        One of `BENCHMARKS`.
    source : Path
        SAKURA's root; MMAU's JSON list; MMAR's JSONL.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    if benchmark == "sakura":
        yield from ((row, None) for row in _sakura(source))
        return
    listed = _json_list(source) if benchmark == "mmau" else _json_lines(source)
    for number, (where, raw) in enumerate(listed):
        try:
            yield _row(benchmark, raw, number, where), None
        except DataError as error:
            yield None, str(error)


def _row(benchmark: str, raw: Any, number: int, where: str) -> Row:
    if not isinstance(raw, dict):
        raise DataError(f"{where}: not a JSON object")
    audio = _text(raw, "audio_id" if benchmark == "mmau" else "audio_path", where)
    name = _text(raw, "id", where) if benchmark == "mmau" else f"mmar_{number}"
    choices, answer = raw.get("choices"), raw.get("answer")
    if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices):
        raise DataError(f"{where} ({name}): 'choices' must be a list of texts")
    if not isinstance(answer, str):
        raise DataError(f"{where} ({name}): 'answer' must be a text")
    equal = [i for i, choice in enumerate(choices) if choice.strip() == answer.strip()]
    if len(equal) != 1:
        fault = "equals none of the choices" if not equal else f"equals {len(equal)} choices"
        raise DataError(f"{where} ({name}): the answer {answer!r} {fault}")
    return _made(
        name,
        _text(raw, "question", where),
        [choice.strip() for choice in choices],
        f"audio/{Path(audio).name}",
        answer,
        equal[0],
    )


def _made(name: str, question: str, choices: list[str], audio: str, answer: str, right: int) -> Row:
    listed = " ".join(f"({letter(i)}) {text}" for i, text in enumerate(choices))
    return {
        "id": name,
        "question": question,
        "choices": listed,
        "choices_list": choices,
        "audio_path": f"{{DATA_ROOT}}/{audio}",
        "answer": answer,
        "true_letter": letter(right),
    }


def _sakura(root: Path) -> Iterator[Row]:
    for track in TRACKS:
        task = Sakura(
            name="sakura", prompt="{question}", parser=_unused, root=str(root), track=track.lower()
        )
        if absent := task.missing(audio=False):
            raise DataError(absent[0])
        order: dict[str, int] = {}
        for sample in task.samples():
            yield _sakura_row(sample, track, order)


def _sakura_row(sample: Sample, track: str, order: dict[str, int]) -> Row:
    (clip,) = sample.audio
    if not isinstance(clip, AudioRef):
        raise TypeError(f"{sample.id}: SAKURA's clips are files")
    file = Path(clip.path).name
    index = order.setdefault(file, len(order))
    labels = [choice.label for choice in sample.choices]
    right = labels.index(sample.target)
    return _made(
        f"sakura_{track.lower()}_{index}_{sample.meta['hop']}",
        sample.question,
        [choice.text for choice in sample.choices],
        f"sakura/data/{track}/audio/{file}",
        f"({sample.target}) {sample.choices[right].text}",
        right,
    )


def _unused(*_: Any) -> Any:
    raise AssertionError("a manifest is made before anyone answers")


def _json_list(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        content = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON ({error.msg}, line {error.lineno})") from error
    if not isinstance(content, list) or not content:
        raise DataError(f"{path}: no list of items; give the benchmark's own JSON file")
    yield from ((f"{path} item {n}", raw) for n, raw in enumerate(content, 1))


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(_read(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"{path} line {number}", json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path} line {number}: not JSON ({error.msg}); mend or delete the line"
            ) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); mend the path") from error


def _text(raw: dict[str, Any], name: str, where: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {name!r} must be a non-empty text")
    return value.strip()
