"""`manifest`: the question list of the audio faithfulness study, from the benchmarks' own files.

The study's published list for MMAR found letters by substring search, so [Incorrect, Correct] with
the answer Correct got A. Here the letter is that of the one choice that equals the answer, white
space at the ends aside; a row with none or several is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lalm_bench.errors import DataError, one_line
from lalm_bench.prompts import letter
from lalm_bench.tasks.published_items import read_items, text_of
from lalm_bench.tasks.sakura import TRACKS, Sakura
from lalm_bench.types import AudioRef, Sample

BENCHMARKS = ("sakura", "mmau", "mmar")
Row = dict[str, Any]


def rows(benchmark: str, source: Path) -> tuple[list[Row], list[str]]:
    """The questions that can be used, and why each of the others was refused.

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
    made: dict[str, Row] = {}
    refused = []
    for row in _sakura(source) if benchmark == "sakura" else _listed(benchmark, source):
        if isinstance(row, str):
            refused.append(row)
        elif made.setdefault(row["id"], row) is not row:
            refused.append(f"{source} ({row['id']}): an earlier row has this id; give it another")
    return list(made.values()), refused


def _listed(benchmark: str, source: Path) -> Iterator[Row | str]:
    for number, (where, raw) in enumerate(read_items(source)):
        try:
            yield _row(benchmark, raw, number, where)
        except DataError as error:
            yield one_line(error)


def _row(benchmark: str, raw: Row, number: int, where: str) -> Row:
    audio = text_of(raw, "audio_id" if benchmark == "mmau" else "audio_path", where)
    name = text_of(raw, "id", where) if benchmark == "mmau" else f"mmar_{number}"
    choices, answer = raw.get("choices"), raw.get("answer")
    if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices):
        raise DataError(f"{where}: 'choices' must be a list of texts")
    if not isinstance(answer, str):
        raise DataError(f"{where}: 'answer' must be a text")
    equal = [i for i, choice in enumerate(choices) if choice.strip() == answer.strip()]
    if len(equal) != 1:
        fault = "equals none of the choices" if not equal else f"equals {len(equal)} choices"
        raise DataError(f"{where}: the answer {answer!r} {fault}")
    return _made(
        name,
        text_of(raw, "question", where),
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


def _sakura(root: Path) -> Iterator[Row | str]:
    for track in TRACKS:
        task = Sakura(
            name="sakura",
            prompt="{question}",
            parser=_unused,
            root=str(root),
            track=track.lower(),
            ids="index",
        )
        if absent := task.missing(audio=False):
            raise DataError(absent[0])
        for sample in task.samples():
            yield sample.fault or _sakura_row(sample, track)


def _sakura_row(sample: Sample, track: str) -> Row:
    (clip,) = sample.audio
    if not isinstance(clip, AudioRef):
        raise TypeError(f"{sample.id}: SAKURA's clips are files")
    right = [choice.label for choice in sample.choices].index(sample.target)
    return _made(
        sample.id,
        sample.question,
        [choice.text for choice in sample.choices],
        f"sakura/data/{track}/audio/{Path(clip.path).name}",
        f"({sample.target}) {sample.choices[right].text}",
        right,
    )


def _unused(*_: Any) -> Any:
    raise AssertionError("a manifest is made before anyone answers")
