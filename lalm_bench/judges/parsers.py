"""Reading a judge's answer: labelled lines, bare words, JSON objects, a checklist.

A parser gives the fields' numbers, None for each that the answer does not say in the form asked
for. It never guesses, and never takes a neighbour's value. Where a reply says several things, those
that the judged answer says as well are not the judge's (`hygiene.own`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from lalm_bench.errors import ConfigError
from lalm_bench.judges.fields import BINARY, ORDINAL, Field
from lalm_bench.judges.hygiene import folded, own
from lalm_bench.types import Json

Values = dict[str, float | None]
_MARK = r"[ \t#*_\"'`\[(-]*"
_CLOSED = r"[ \t*_\"'`\])]*"


class Parser(Protocol):
    """How the answers of a rubric are read."""

    @property
    def fields(self) -> Sequence[Field]:
        """What every verdict says."""

    @property
    def labels(self) -> Sequence[str]:
        """Words in front of values, which a model's own answer must not imitate."""

    def parse(self, reply: str, row: Mapping[str, Any], answer: str = "") -> Values:
        """Field -> number, or None, of a reply on a decision `row`, whose text is `answer`."""

    def schema(self) -> dict[str, Json] | None:
        """JSON schema of the whole answer; None for answers that are no JSON."""


class _Fielded:
    """`fields` as a mapping of names to settings, as YAML has them."""

    def __init__(self, fields: Mapping[str, Mapping[str, Any]]) -> None:
        if not fields:
            raise ConfigError("judge.rubric: its parser reads no field; name one in parser.fields")
        self._fields = tuple(Field(name=name, **given) for name, given in fields.items())

    @property
    def fields(self) -> Sequence[Field]:
        return self._fields

    @property
    def labels(self) -> Sequence[str]:
        return [field.label or field.name for field in self._fields]

    def schema(self) -> dict[str, Json] | None:
        return None

    def _planted(self, field: Field, answer: str) -> set[float | None]:
        """Every number that stands behind the field's label in an answer, however set."""
        label = re.escape(field.label or field.name)
        found = re.finditer(
            rf"{label}[^\w\n]*(?:\n[^\w\n]*)?(?=(?P<value>[^\n]*))", folded(answer), re.IGNORECASE
        )
        return {field.read(match["value"]) for match in found}


class Labelled(_Fielded):
    r"""Lines of the form `Label: value`; the last one counts.

    Markdown around label and value is allowed, and the value may stand on the next line. A label
    counts only at the beginning of a line, so what a judge quotes within a sentence does not.

    Parameters
    ----------
    fields : mapping
        Name -> settings of `Field`.
    inline : bool
        Labels count within a line as well, for rubrics whose judges write them so.

    Examples
    --------
    >>> parser = Labelled({"rating": {"low": 0, "high": 2}})
    >>> parser.parse("It says \"Rating: 2\".\n**Rating:** 1", {})
    {'rating': 1.0}
    """

    def __init__(self, fields: Mapping[str, Mapping[str, Any]], inline: bool = False) -> None:
        super().__init__(fields)
        start = r"\b" if inline else rf"^{_MARK}"
        self._patterns = {
            field.name: re.compile(
                rf"{start}{re.escape(field.label or field.name)}{_CLOSED}[:：]{_CLOSED}"
                r"[ \t]*(?:\r?\n[ \t]*)?(?P<value>[^\n]*)",
                re.IGNORECASE | re.MULTILINE,
            )
            for field in self._fields
        }

    def parse(self, reply: str, row: Mapping[str, Any], answer: str = "") -> Values:
        """Field -> number, or None."""
        return {field.name: self._own(field, reply, answer) for field in self._fields}

    def _own(self, field: Field, reply: str, answer: str) -> float | None:
        found = self._patterns[field.name].finditer(reply)
        said = [field.read(folded(match["value"])) for match in found]
        return own(said, lambda: self._planted(field, answer))


class Words(_Fielded):
    """The one level of each field that occurs in the answer, without any label."""

    def parse(self, reply: str, row: Mapping[str, Any], answer: str = "") -> Values:
        """Field -> number; None where no level or several occur."""
        return {field.name: field.find(reply) for field in self._fields}


class JsonObject(_Fielded):
    """One JSON object that holds the fields; the last complete one in the answer counts."""

    def parse(self, reply: str, row: Mapping[str, Any], answer: str = "") -> Values:
        """Field -> number, or None."""
        names = [field.name for field in self._fields]
        wanted = [v for v in json_values(reply) if isinstance(v, dict) and {*names} <= v.keys()]
        said = [tuple([f.read(v[f.name]) for f in self._fields]) for v in wanted]
        there = own(said, lambda: {v for v in said if self._all_planted(v, answer)})
        return dict(zip(names, there or (None,) * len(names), strict=True))

    def _all_planted(self, values: tuple[float | None, ...], answer: str) -> bool:
        pairs = zip(self._fields, values, strict=True)
        return all(value in self._planted(field, answer) for field, value in pairs)

    def schema(self) -> dict[str, Json] | None:
        """An object with an explanation first, so that the judge reasons before it decides."""
        return {
            "type": "object",
            "properties": {
                "explanation": {"type": "string"},
                **{field.name: field.schema() for field in self._fields},
            },
            "required": ["explanation", *[field.name for field in self._fields]],
            "additionalProperties": False,
        }


@dataclass(frozen=True)
class Checklist:
    """A JSON list with one score for each criterion of the item; the verdict is their mean.

    Parameters
    ----------
    criteria : str
        Column of the decisions that lists the criteria, each with a name and its allowed choices.
    name : str
        Of the field.
    """

    criteria: str
    name: str = "score"

    @cached_property
    def fields(self) -> Sequence[Field]:
        """The mean, and whether every criterion is met."""
        met = Field(name="all_met", levels={"0": 0, "1": 1}, scale=BINARY)
        return (Field(name=self.name, low=0, high=1, scale=ORDINAL), met)

    @property
    def labels(self) -> Sequence[str]:
        """None: values stand in JSON."""
        return ()

    def parse(self, reply: str, row: Mapping[str, Any], answer: str = "") -> Values:
        """Mean score and all_met; None unless every criterion has one allowed score, in order."""
        criteria = row.get(self.criteria) or []
        said = [scores for scores in _lists(reply) if len(scores) == len(criteria)]
        scores = own(said, lambda: {*_lists(folded(answer))}) or ()
        allowed = [c["choices"] for c in criteria]
        if not scores or any(s not in a for s, a in zip(scores, allowed, strict=True)):
            return dict.fromkeys([f.name for f in self.fields])
        mean = sum(map(float, scores)) / len(scores)
        return {self.name: mean, "all_met": float(mean == 1)}

    def schema(self) -> dict[str, Json] | None:
        """A list of objects, one for each criterion."""
        entry: dict[str, Json] = {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "score": {"type": "integer"},
                "justification": {"type": "string"},
            },
            "required": ["name", "score", "justification"],
            "additionalProperties": False,
        }
        return {"type": "array", "items": entry}


def _lists(text: str) -> list[tuple[Any, ...]]:
    """The scores in every list of objects; None for what is no number."""
    lists = [v for v in json_values(text) if isinstance(v, list)]
    lists = [v for v in lists if v and all(isinstance(entry, dict) for entry in v)]
    return [tuple([_plain(entry.get("score")) for entry in v]) for v in lists]


def _plain(score: object) -> int | float | None:
    return None if isinstance(score, bool) or not isinstance(score, int | float) else score


def json_values(text: str) -> Iterator[Any]:
    """Objects and lists of JSON in running text, outermost ones, in order.

    Examples
    --------
    >>> list(json_values('I say {"a": 1}, not [2].'))
    [{'a': 1}, [2]]
    >>> list(json_values(f"[{'9' * 5000}] [2]"))
    [[2]]
    """
    decoder = json.JSONDecoder(strict=False)  # models break lines inside strings
    begin = re.compile(r"[\[{]")
    place = 0
    while (match := begin.search(text, place)) is not None:
        try:
            value, place = decoder.raw_decode(text, match.start())
        except ValueError:  # also a number of too many digits
            place = match.end()
        except RecursionError:  # brackets without end, each of which would be tried
            place = len(text) - len(text[match.start() :].lstrip("[{ \n"))
        else:
            yield value
