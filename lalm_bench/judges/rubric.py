"""A rubric: what a judge is told of an answer, and how its reply is read. All of it is YAML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.judges.fields import Field
from lalm_bench.judges.hygiene import Landmarks, quoted, unbroken
from lalm_bench.judges.parsers import Parser, Values
from lalm_bench.types import Message, Text

Row = Mapping[str, Any]
# A slot's source: a column, the first of several that holds something, or one block an element.
Source = str | Sequence[str] | Mapping[str, str]
# Columns that are made from a decision's options.
QUESTION, OPTIONS, ANSWER = "question_inline", "options_inline", "answer_inline"
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class Reask:
    """A second question, for replies that lack some of the fields.

    Parameters
    ----------
    template : str
        May hold `{reply}`: the first reply, or what follows `after` in it.
    parser : Parser
        Reads the second reply; only what the first one lacks is taken from it.
    after : str, optional
        Only what follows the last of these in the first reply is shown.
    conversation : bool
        The first question and its reply go before it.
    """

    template: str
    parser: Parser
    after: str | None = None
    conversation: bool = False


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """What is asked about one answer.

    Parameters
    ----------
    template : str
        The user's turn; `{slot}` is filled once, so braces in what is filled in stay.
    slots : mapping
        Slot -> column of the decisions, list of columns (the first that holds something), or a
        mapping with `of` (a column that holds a list), `each` (a template filled by the keys of
        each element) and `join`.
    parser : Parser
    system : str, optional
    flush_left : bool
        Every line of the user's turn loses the white space in front of it.
    written : sequence of str
        Slots that hold what a model wrote; see `hygiene`.
    reask : Reask, optional
    only : mapping
        Column -> value: which decisions are judged.
    gate : mapping
        Column -> value that a decision must have to be judged; others get `gated` without a call.
    gated : mapping
        Field -> number for decisions that the gate keeps from the judge.
    fills : mapping
        Column of the decisions -> field that is put there before the task's own metrics are
        computed again.
    malformed : mapping
        Field -> number that a malformed verdict counts as in `fills`; absent: not scored.
    rescore : bool
        Compute the task's own metrics again, from decisions that hold the judges' columns.
    comparable : str, optional
        With what published numbers its results may be compared, for people.

    Raises
    ------
    ConfigError
        A slot of the template has no source, or a field is unknown.
    """

    name: str
    template: str
    slots: Mapping[str, Source]
    parser: Parser
    system: str | None = None
    flush_left: bool = False
    written: Sequence[str] = ()
    reask: Reask | None = None
    only: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    gated: Mapping[str, float] = field(default_factory=dict)
    fills: Mapping[str, str] = field(default_factory=dict)
    malformed: Mapping[str, float] = field(default_factory=dict)
    rescore: bool = False
    comparable: str | None = None

    def __post_init__(self) -> None:
        text = f"{self.system or ''}{self.template}"
        if lacking := [slot for slot in self.slots if f"{{{slot}}}" not in text]:
            raise ConfigError(f"rubric {self.name}: its template has no {{{lacking[0]}}}")
        if unknown := sorted({*_SLOT.findall(text)} - {*self.slots}):
            raise ConfigError(
                f"rubric {self.name}: its template has {{{unknown[0]}}}, which is none of its slots"
            )
        names = {f.name for f in self.fields}
        named = {*self.gated, *self.malformed, *self.fills.values()}
        if unknown := sorted(named - names):
            raise ConfigError(
                f"rubric {self.name} has no field {unknown[0]}; it has {', '.join(sorted(names))}"
            )
        if unknown := sorted(set(self.written) - set(self.slots)):
            raise ConfigError(f"rubric {self.name}: written names no slot: {unknown[0]}")

    @property
    def fields(self) -> Sequence[Field]:
        """What each verdict says."""
        return self.parser.fields

    def judges(self, row: Row) -> bool:
        """Whether this decision is the rubric's business."""
        return all(row.get(column) == value for column, value in self.only.items())

    def demand(self, rows: Iterable[Row]) -> None:
        """Check that every decision has all that is asked for.

        Raises
        ------
        DataError
            One lacks it; names the item and the column.
        """
        for row in rows:
            if lacking := [column for column in self.gate if column not in row]:
                raise _lacking(self, row, lacking, "its gate")
            if self.asks(row):
                self.messages(row)

    def asks(self, row: Row) -> bool:
        """Whether the gate lets this decision through to the judge."""
        return all(row.get(column) == value for column, value in self.gate.items())

    def messages(self, row: Row) -> tuple[tuple[Message, ...], int]:
        """What the judge reads, and how many places of the answer were set as quotations.

        Raises
        ------
        DataError
            The decision lacks what a slot needs.
        """
        values, count = {}, 0
        for slot, source in self.slots.items():
            value = self._value(row, slot, source)
            if slot in self.written:
                value, found = quoted(value, self._landmarks)
                count += found
            values[slot] = value
        turns = [] if self.system is None else [_turn("system", fill(self.system, values))]
        told = fill(self.template, values)
        if self.flush_left:
            told = "\n".join(line.lstrip() for line in told.split("\n"))
        return (*turns, _turn("user", told)), count

    @cached_property
    def _landmarks(self) -> Landmarks:
        shown = [self.reask.after.strip(" :\n")] if self.reask and self.reask.after else []
        return Landmarks.of([*self.parser.labels, *shown], self.template)

    def read(self, reply: str, row: Row) -> Values:
        """What a reply says of a decision."""
        return self.parser.parse(reply, row, self._answer(row))

    def read_second(self, reply: str, row: Row) -> Values:
        """What the reply to the second question says."""
        return {} if self.reask is None else self.reask.parser.parse(reply, row, self._answer(row))

    def _answer(self, row: Row) -> str:
        return "\n".join(self._value(row, slot, self.slots[slot]) for slot in self.written)

    def second(self, row: Row, reply: str, values: Values) -> tuple[Message, ...] | None:
        """The second question after a reply that gave `values`; None where there is none."""
        reask = self.reask
        if reask is None or all(value is not None for value in values.values()):
            return None
        missing = {name for name, value in values.items() if value is None}
        reply, _ = unbroken(reply)  # it may repeat the answer
        shown = reply.rpartition(reask.after)[2] if reask.after else reply
        if not shown.strip() or not missing & {f.name for f in reask.parser.fields}:
            return None
        question = _turn("user", fill(reask.template, {"reply": shown.strip()}))
        if reask.conversation:
            return (*self.messages(row)[0], _turn("assistant", reply), question)
        system = [] if self.system is None else [_turn("system", self.system)]
        return (*system, question)

    def _value(self, row: Row, slot: str, source: Source) -> str:
        if isinstance(source, Mapping):
            listed = row.get(source["of"])
            if isinstance(listed, list) and listed:
                return source.get("join", "\n").join(fill(source["each"], e) for e in listed)
            source = source["of"]
        columns = [source] if isinstance(source, str) else list(source)
        for column in columns:
            value = _INLINE[column](row) if column in _INLINE else row.get(column)
            if value is not None and (value != "" or column == columns[-1]):
                return str(value)
        raise _lacking(self, row, columns, f"{{{slot}}}")


def _lacking(rubric: Rubric, row: Row, columns: Sequence[str], what: str) -> DataError:
    return DataError(
        f"item '{row.get('id')}': rubric {rubric.name} needs {' or '.join(columns)} for {what}, "
        "which the run's decisions lack; judge a task that has it, or run it again"
    )


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Put values into `{slot}`s, once; other braces stay.

    Examples
    --------
    >>> fill("{a} {b} {c}", {"a": "{b}", "b": 2})
    '{b} 2 {c}'
    """
    return _SLOT.sub(
        lambda match: str(values[match[1]]) if match[1] in values else match[0], template
    )


def _options(row: Row) -> str:
    """`(a) dog (b) cat`."""
    options: Mapping[str, str] = row.get("options") or {}
    return " ".join(f"({label}) {text}" for label, text in options.items()) or "none"


def _question(row: Row) -> str:
    """The question, and the options behind it where there are some."""
    return f"{row['question']} {_options(row)}" if row.get("options") else str(row["question"])


def _answer(row: Row) -> str | None:
    """`(b) cat`, or the target itself where it is no option."""
    text = (row.get("options") or {}).get(row.get("target"))
    return row.get("target") if text is None else f"({row['target']}) {text}"


_INLINE: dict[str, Callable[[Row], str | None]] = {
    QUESTION: _question,
    OPTIONS: _options,
    ANSWER: _answer,
}


def _turn(role: str, text: str) -> Message:
    return Message(role, (Text(text),))
