"""From answers to decisions: one row an item, in the task's order, whatever order they came in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from lalm_bench.preflight import Plan
from lalm_bench.store import ResponseLog
from lalm_bench.types import AudioRef, Response, Sample, Score

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("id", "target", "target_text", "label", "n_options", "cluster", "stage", "conflict")
_SOMETIMES = ("answer_type", "finish", "truncated_s")


def score_run(plan: Plan, log: ResponseLog, decisions: Path) -> tuple[pd.DataFrame, list[str]]:
    """Score all answered items and write `decisions.jsonl` atomically.

    Parameters
    ----------
    plan : Plan
        Checked: its keys are known.
    log : ResponseLog
    decisions : Path
        The file to write.

    Returns
    -------
    table : DataFrame
        One row a decision, with the columns that metrics need.
    unanswered : list of str
        Ids of the items with an error: neither scored nor dropped in silence.
    """
    import pandas as pd

    columns: dict[str, list[Any]] = {}
    unanswered: list[str] = []
    partial = decisions.with_name(f".{decisions.name}.partial")
    with open(partial, "wb", buffering=1 << 20) as out:
        for sample, responses in _answers(plan, log):
            if responses is None:
                unanswered.append(sample.id)
                continue
            texts = {c.label: c.text for c in sample.choices}
            given = {r.variant: r for r in responses}
            for score in plan.task.score(sample, responses):
                row = _row(sample, texts, score)
                if response := given.get(score.variant):
                    row |= _delivered(response)
                for name in (*_COLUMNS, *_SOMETIMES, *score.values, *plan.task.groups):
                    columns.setdefault(name, []).append(row.get(name))
                out.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    partial.replace(decisions)
    known = {k: v for k, v in columns.items() if k in _COLUMNS or any(x is not None for x in v)}
    return pd.DataFrame(known), unanswered


def _answers(plan: Plan, log: ResponseLog) -> Iterator[tuple[Sample, list[Response] | None]]:
    """Each asked item with its answers, or None when one of them is missing."""
    stream = log.read(key for asked in plan.asked for key, _ in asked)
    for sample, asked in zip(plan.samples, plan.asked, strict=True):
        answers = [(variant, next(stream)) for _, variant in asked]
        if sample.id in plan.unasked:
            yield sample, None
            continue
        if not answers:  # every request was skipped by the intervention
            continue
        # An answer may have been given to an equal request of another item or variant.
        found = [
            a if a.variant == variant else replace(a, variant=variant)
            for variant, a in answers
            if a is not None
        ]
        yield sample, found if len(found) == len(answers) else None


def delivery(decisions: pd.DataFrame) -> dict[str, float | int | None]:
    """How answers arrived: share cut at the token limit, and clips that were cut to fit."""
    found: dict[str, float | int | None] = {}
    if "finish" in decisions:
        found["length_rate"] = float((decisions["finish"] == "length").mean())
    if "truncated_s" in decisions:
        found["n_truncated"] = int((decisions["truncated_s"] > 0).sum())
        found["truncated_s"] = float(decisions["truncated_s"].sum())
    return found


def _delivered(response: Response) -> dict[str, Any]:
    facts: dict[str, Any] = {"text": response.text, "finish": response.finish}
    if response.scores:
        facts["scores"] = response.scores
    if response.usage and "truncated_s" in response.usage:
        facts["truncated_s"] = response.usage["truncated_s"]
    return facts


def _row(sample: Sample, texts: dict[str, str], score: Score) -> dict[str, Any]:
    # The target of a task without options may be anything that JSON can say.
    target = sample.target if isinstance(sample.target, str) else None
    row: dict[str, Any] = {
        "id": sample.id,
        "variant": score.variant,
        "cluster": sample.cluster,
        "question": sample.question,
        "options": texts,
        "audio": [c.path if isinstance(c, AudioRef) else c.content() for c in sample.audio],
        "target": sample.target,
        "target_text": None if target is None else texts.get(target),
        "label": score.label,
        "label_text": None if score.label is None else texts.get(score.label),
        "stage": score.stage,
        "invalid": score.invalid,
        "conflict": score.conflict,
        "n_options": len(texts),
        **score.values,
    }
    for name, value in sample.meta.items():
        row.setdefault(name, value)
    return row
