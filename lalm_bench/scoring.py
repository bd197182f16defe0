"""From answers to decisions: one row an item, in the task's order, whatever order they came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import orjson

from lalm_bench import audio_facts
from lalm_bench.preflight import Answered, Plan
from lalm_bench.store import ResponseLog
from lalm_bench.types import AudioRef, Response, Sample, Score, Task

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("id", "target", "target_text", "label", "n_options", "cluster", "stage", "conflict")
_HEARD = ("truncated_s", *audio_facts.NAMES)
_SOMETIMES = ("answer_type", "finish", *_HEARD)
_BULK = 2048


@runtime_checkable
class InBulk(Protocol):
    """A task that scores faster when it knows what is next."""

    def prepare(self, answered: Sequence[tuple[Sample, Sequence[Response]]]) -> None:
        """Do for all of these at once what `score` would do for each; changes no score."""


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
    with open(partial, "wb", buffering=1 << 20) as out, log.lookup() as answer:
        for sample, responses in _foreseen(plan.task, _answers(plan, answer)):
            if responses is None:
                unanswered.append(sample.id)
                continue
            texts = {c.label: c.text for c in sample.choices}
            given = {r.variant: r for r in responses}
            for score in _own(plan, plan.task.score(sample, responses)):
                row = _row(sample, texts, score)
                if response := given.get(score.variant):
                    row |= _delivered(response)
                for name in (*_COLUMNS, *_SOMETIMES, *score.values, *plan.task.groups):
                    columns.setdefault(name, []).append(row.get(name))
                out.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    partial.replace(decisions)
    known = {k: v for k, v in columns.items() if k in _COLUMNS or any(x is not None for x in v)}
    return pd.DataFrame(known), unanswered


def _own(plan: Plan, scores: Iterable[Score]) -> Iterable[Score]:
    """Scores that do not call it the model's reasoning, or a lack of it, what it was given."""
    if not getattr(plan.intervention, "gives_reasoning", False):
        return scores
    return [
        replace(
            score,
            values={k: v for k, v in score.values.items() if k != "missed_reasoning"},
            facts={k: v for k, v in score.facts.items() if k != "reasoning"},
        )
        for score in scores
    ]


def _foreseen(
    task: Task, answered: Iterator[tuple[Sample, list[Response] | None]]
) -> Iterator[tuple[Sample, list[Response] | None]]:
    """The same, after the task has had a look at some of them at once."""
    if not isinstance(task, InBulk):
        yield from answered
        return
    while some := [*islice(answered, _BULK)]:
        task.prepare([(sample, responses) for sample, responses in some if responses is not None])
        yield from some


def _answers(plan: Plan, answer: Answered) -> Iterator[tuple[Sample, list[Response] | None]]:
    """Each asked item with its answers, or None when one of them is missing."""
    for sample, asked in zip(plan.samples, plan.asked, strict=True):
        if sample.id in plan.unasked:
            yield sample, None
            continue
        if not asked:  # every request was skipped by the intervention
            continue
        found = [_last(plan, sample, variant, answer(key), answer) for key, variant in asked]
        yield sample, None if None in found else [r for r in found if r is not None]


def _last(
    plan: Plan, sample: Sample, variant: str, response: Response | None, answer: Answered
) -> Response | None:
    """The final answer of one item and variant, with the answers to the steps before it."""
    name = (sample.id, variant)
    if response is None or name in plan.open:
        return None
    if name in plan.steps:
        steps = ((step, answer(key)) for step, key in plan.steps[name])
        return replace(
            response, variant=variant, earlier={step: r.text for step, r in steps if r is not None}
        )
    # An answer may have been given to an equal request of another item or variant.
    return response if response.variant == variant else replace(response, variant=variant)


def delivery(decisions: pd.DataFrame) -> dict[str, float | int | None]:
    """How answers arrived: share cut at the token limit, clips cut to fit, clips edited."""
    found: dict[str, float | int | None] = {}
    if "finish" in decisions:
        found["length_rate"] = float((decisions["finish"] == "length").mean())
    if "truncated_s" in decisions:
        found["n_truncated"] = int((decisions["truncated_s"] > 0).sum())
        found["truncated_s"] = float(decisions["truncated_s"].sum())
    for name in audio_facts.MEANS:
        if name in decisions:
            found[name] = float(decisions[name].mean())
    for name in audio_facts.FLAGS:
        if name in decisions:
            found[f"n_{name}"] = int((decisions[name] > 0).sum())
    return found


def _delivered(response: Response) -> dict[str, Any]:
    facts: dict[str, Any] = {"text": response.text, "finish": response.finish}
    if response.earlier:
        facts["steps"] = response.earlier
    if response.scores:
        facts["scores"] = response.scores
    if usage := response.usage:
        facts |= {name: usage[name] for name in _HEARD if name in usage}
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
        **score.facts,
    }
    for name, value in sample.meta.items():
        row.setdefault(name, value)
    return row
