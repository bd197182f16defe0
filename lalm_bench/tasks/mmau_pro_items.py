"""From a row of MMAU-Pro's table to an item."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from lalm_bench.errors import DataError
from lalm_bench.metrics import instructions
from lalm_bench.metrics.mmau_pro import CLOSED, INSTRUCTION, OPEN
from lalm_bench.tasks.published_items import lettered, plain, text_of
from lalm_bench.types import AudioRef, Choice, Sample

_OWN_NAMES = {"open": OPEN, "instruction following": INSTRUCTION}


def kind_of(row: Mapping[str, Any], where: str) -> str:
    """`open`, `instruction_following`, or `closed` for every other category."""
    category = " ".join(text_of(row, "category", where).lower().replace("_", " ").split())
    return _OWN_NAMES.get(category, CLOSED)


def left_out(row: Mapping[str, Any], kind: str) -> str | None:
    """Why the published evaluator leaves the row out; None when it does not."""
    choices = row.get("choices")
    if kind == CLOSED and (not isinstance(choices, list) or len(choices) < 2):
        return "closed question with fewer than two choices"
    return None


def to_sample(
    row: Mapping[str, Any],
    kind: str,
    identity: str,
    audio_root: str,
    columns: Sequence[str],
    where: str,
) -> Sample:
    """A row as an item; items on the same recordings form a cluster.

    Parameters
    ----------
    row : mapping
    kind : str
    identity : str
    audio_root : str
    columns : sequence of str
        Further columns to group by.
    where : str
        For messages.

    Raises
    ------
    DataError
        The question or the path of the recording is absent, the answer is none of the choices, or
        the instruction is unknown or lacks an argument.
    """
    choices: tuple[Choice, ...] = ()
    target = plain(row.get("answer"))
    meta: dict[str, Any] = {"kind": kind, "rule": None, "arguments": None}
    if kind == CLOSED:
        choices, target = lettered(row["choices"], row.get("answer"), where)
    elif kind == INSTRUCTION:
        name, given = row.get("task_identifier"), arguments(row)
        rule = instructions.find(str(name))
        if rule is None:
            raise DataError(f"{where}: unknown instruction {name!r}; mend or drop the row")
        if absent := instructions.lacking(rule, given):
            missing = ", ".join(absent)
            raise DataError(
                f"{where}: instruction {rule.name} without {missing}; mend or drop the row"
            )
        target, meta["rule"], meta["arguments"] = "followed", rule.name, given
    meta |= {name: plain(row.get(name)) for name in columns if name not in meta}
    paths = _paths(row, where)
    return Sample(
        identity,
        tuple([AudioRef(os.path.normpath(os.path.join(audio_root, path))) for path in paths]),
        text_of(row, "question", where),
        choices,
        target,
        ", ".join(paths),
        meta,
    )


def arguments(row: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an instruction that are not null, and the question.

    The table gives every row all argument names, most of them null; JSON text and a list of one
    object are read as well.
    """
    given = row.get("kwargs")
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except json.JSONDecodeError:
            given = None
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    found = given if isinstance(given, dict) else {}
    return {"question": row.get("question")} | {
        name: value for name, value in found.items() if value is not None and value == value
    }


def _paths(row: Mapping[str, Any], where: str) -> list[str]:
    value = row.get("audio_path")
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not paths or not all(isinstance(p, str) for p in paths):
        raise DataError(f"{where}: 'audio_path' must name a recording; mend or drop the row")
    return paths
