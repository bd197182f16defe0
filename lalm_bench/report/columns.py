"""What the browser's list and filters need of a run: compact columns, one entry a decision."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lalm_bench import runs
from lalm_bench.compare.loaded import Run
from lalm_bench.compare.measures import Measure, choose
from lalm_bench.errors import DataError
from lalm_bench.report.verdicts import Verdicts
from lalm_bench.store import read_json

RIGHT, WRONG, INVALID, ERROR, UNSCORED = range(5)
# How an answer differs from the baseline's: flags that add up. None where nothing is paired.
OTHER_ANSWER, RIGHT_TO_WRONG, WRONG_TO_RIGHT, LOST_LABEL = 1, 2, 4, 8
_MOST_VALUES = 60
_SHORT = 160

Key = tuple[str, str]


@dataclass
class Coded:
    """A column of texts: each distinct text once, and for each row its place (-1: none)."""

    words: dict[str, int] = field(default_factory=dict)
    at: list[int] = field(default_factory=list)

    def add(self, value: object) -> None:
        """Append one row's text."""
        if value is None:
            self.at.append(-1)
        else:
            self.at.append(self.words.setdefault(str(value), len(self.words)))

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {"words": [*self.words], "at": self.at}


@dataclass
class Columns:
    """The rows of one run: its decisions in order, then the items that have no answer.

    Parameters
    ----------
    run : Run
    value : str or None
        The per-item number that stands for right and wrong where the task has none.
    attended : list of int
        Rows whose attention was captured.
    """

    run: Run
    value: str | None
    keys: list[Key] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    change: list[int | None] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    disagree: list[int | None] = field(default_factory=list)
    attended: list[int] = field(default_factory=list)
    questions: Coded = field(default_factory=Coded)
    given: Coded = field(default_factory=Coded)
    target: Coded = field(default_factory=Coded)
    groups: dict[str, Coded] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def json(self, clips: Mapping[int, Any], chunk: int) -> dict[str, Any]:
        """The file that the page reads; columns without anything in them are left out."""
        paired = any(change is not None for change in self.change)
        judged = any(d is not None for d in self.disagree)
        shown = {n: c for n, c in self.groups.items() if 1 < len(c.words) <= _MOST_VALUES}
        return {
            "n": len(self.keys),
            "chunk": chunk,
            "id": [key[0] for key in self.keys],
            "variant": [k[1] for k in self.keys] if any(k[1] for k in self.keys) else None,
            "status": self.status,
            "change": self.change if paired else None,
            "value": self.values if self.value else None,
            "value_name": self.value,
            "disagree": self.disagree if judged else None,
            "question": self.questions.json(),
            "given": self.given.json(),
            "target": self.target.json(),
            "groups": {name: coded.json() for name, coded in shown.items()},
            "clips": sorted(clips),
            "attended": self.attended,
        }


def read(
    run: Run,
    verdicts: Verdicts,
    before: Mapping[Key, Before] | None,
    captured: Container[Key] = (),
) -> Columns:
    """Read a run's decisions once.

    Parameters
    ----------
    run : Run
    verdicts : Verdicts
        What judges said of it.
    before : mapping of (id, variant) to Before, optional
        The baseline's decisions.
    captured : container of (id, variant)
        Prompts whose attention was captured.
    """
    found = Columns(run, _value(run))
    groups = (*run.config["task"].get("groups", ()), "answer_type", "n_options")
    found.groups = {name: Coded() for name in dict.fromkeys((*groups, "stage", "finish"))}
    for row in runs.decisions(run.folder):
        key = (str(row["id"]), str(row.get("variant") or ""))
        if key in captured:
            found.attended.append(len(found.keys))
        _add(found, key, row, right(row))
        found.change.append(_change(row, None if before is None else before.get(key)))
        found.disagree.append(verdicts.disagree(key))
    _add_unanswered(found)
    return found


def right(row: Mapping[str, Any]) -> bool | None:
    """Whether a decision is right; None where its task knows no right and wrong."""
    for name, value in row.items():
        if (name == "correct" or name.startswith("correct[")) and value is not None:
            return bool(value >= 1)
    return None


@dataclass(frozen=True, slots=True)
class Before:
    """A baseline's decision on one request."""

    label: str | None
    right: bool | None
    text: str


def baseline(run: Run) -> dict[Key, Before]:
    """A run's decisions, to be looked up by those of others."""
    return {
        (str(row["id"]), str(row.get("variant") or "")): Before(
            row.get("label"), right(row), str(row.get("text") or "")
        )
        for row in runs.decisions(run.folder)
    }


def _add(found: Columns, key: Key, row: Mapping[str, Any], is_right: bool | None) -> None:
    found.keys.append(key)
    if is_right:
        status = RIGHT
    elif row.get("invalid"):
        status = INVALID
    else:
        status = UNSCORED if is_right is None else WRONG
    found.status.append(status)
    number = row.get(found.value) if found.value else None
    found.values.append(number if isinstance(number, int | float) else None)
    found.questions.add(_short(row.get("question")))
    found.given.add(_short(row.get("label") if row.get("label") is not None else row.get("text")))
    found.target.add(_short(row.get("target")))
    for name, coded in found.groups.items():
        coded.add(row.get(name))


def _change(row: Mapping[str, Any], before: Before | None) -> int | None:
    if before is None:
        return None
    label, now = row.get("label"), right(row)
    free = before.right is None and now is None and not row.get("options")
    other = (str(row.get("text") or "") != before.text) if free else label != before.label
    return (
        OTHER_ANSWER * other
        + RIGHT_TO_WRONG * (before.right is True and now is False)
        + WRONG_TO_RIGHT * (before.right is False and now is True)
        + LOST_LABEL * (before.label is not None and label is None)
    )


def _add_unanswered(found: Columns) -> None:
    """Items that ended in an error are rows of their own kind: not scored, and not dropped."""
    analysis = read_json(found.run.folder / "analysis.json") or {}
    reasons = analysis.get("unasked") or {}
    for name in analysis.get("unanswered") or ():
        found.errors[name] = str(reasons.get(name, ""))
        found.keys.append((str(name), ""))
        found.status.append(ERROR)
        found.change.append(None)
        found.values.append(None)
        found.disagree.append(None)
        for coded in (found.questions, found.given, found.target, *found.groups.values()):
            coded.add(None)


def _value(run: Run) -> str | None:
    """The column to sort by where nothing is right or wrong."""
    try:
        if right(run.first_row) is not None:
            return None
        measure: Measure = choose(None, run)
    except DataError:
        return next(_numbers(run), None)
    return None if measure.classes else measure.columns[0]


def _numbers(run: Run) -> Iterator[str]:
    try:
        row = run.first_row
    except DataError:
        return
    for name in run.headline:
        if isinstance(row.get(name), float):
            yield name


def _short(value: object) -> str | None:
    if value is None:
        return None
    text = " ".join((value if isinstance(value, str) else str(value)).split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"
