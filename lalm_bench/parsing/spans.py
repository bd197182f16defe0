"""Time spans in a model's text: JSON, ranges, pairs, clock times, sentences.

Understood are seconds (`3.5`, `3.5 s`, `3 seconds`), minutes (`1 min 5 s`, `1m05s`), clock times
(`1:05`, `01:05.250`, `0:01:05`), milliseconds with a unit, and spans written as a range (`1.2-3.4`,
`from 1.2 to 3.4 s`, `between 0:01 and 0:03`), a bracketed pair (`[1.2, 3.4]`), named ends
(`onset: 1.2, offset: 3.4`), a length (`starts at 2 s and lasts 3 s`), or JSON. A number alone is no
span. Decimal commas are not understood, since they cannot be told from pairs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ParsedSpans:
    """Outcome of one extraction.

    Parameters
    ----------
    spans : tuple of (float, float)
        Onset and offset in seconds, in the order of the text; empty when there is none.
    stage : str
        The rule that fired: `json`, `range`, `pair`, `named`, `length`; without spans one of
        `empty`, `refusal`, `inverted` (an offset that is not after its onset), `none`.
    """

    spans: tuple[Span, ...]
    stage: str


_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)"
_UNIT = r"(?:milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|min|m)\b\.?"
_TIME = (
    rf"(?:\d+(?::[0-5]?\d){{1,2}}(?:\.\d+)?"
    rf"|{_NUMBER}\s*(?:minutes?|mins?|min|m)\b\.?(?:\s*,?\s*(?:and\s+)?){_NUMBER}\s*"
    rf"(?:seconds?|secs?|s)\b\.?"
    rf"|{_NUMBER}m{_NUMBER}s\b"
    rf"|{_NUMBER}(?:\s*{_UNIT})?)"
)
# Neither inside a longer number or word, nor before one.
_FREE = r"(?<![\w.:])"
_AFTER = r"(?![\w:]|\.\d)"
_T1, _T2 = rf"(?P<a>{_TIME})", rf"(?P<b>{_TIME})"
_RANGE = re.compile(
    rf"{_FREE}{_T1}\s*(?:-{{1,2}}>?|→|~|\.\.\.?|\bto\b|\buntil\b|\btill\b|\bthrough\b|\bup to\b)"
    rf"\s*(?:about|around|approximately|the)?\s*{_T2}{_AFTER}"
)
_BETWEEN = re.compile(rf"\bbetween\s+(?:about\s+|around\s+)?{_T1}\s+and\s+{_T2}{_AFTER}")
_PAIR = re.compile(rf"[\[(<]\s*{_T1}\s*[,;]\s*{_T2}\s*[\])>]")
_BARE = re.compile(rf"\s*{_T1}\s*(?:[,;]|\s|and)\s*{_T2}\s*\.?\s*")
_FILL = r"[^\d\n\[\](){}]{0,40}?"
_ENDS = r"(?:offset|ends?|ending|ended|end[ _]time|stops?|stopping|finish(?:es)?|fades?|ceases?)"
_STARTS = r"(?:onset|starts?|starting|started|start[ _]time|begins?|beginning|began|occurs?|heard)"
_NAMED = re.compile(
    rf"\b{_STARTS}\b{_FILL}{_FREE}{_T1}{_AFTER}[^\d]{{0,60}}?"
    rf"\b(?:{_ENDS}|until|till|to)\b{_FILL}{_FREE}{_T2}{_AFTER}"
)
_LENGTH = re.compile(
    rf"\b{_STARTS}\b{_FILL}{_FREE}{_T1}{_AFTER}[^\d]{{0,40}}?"
    rf"\b(?:lasts?|lasting|duration|continues?\s+for)\b{_FILL}{_FREE}{_T2}{_AFTER}"
)
_REFUSAL = re.compile(
    r"\b(?:not (?:present|audible|heard|in the (?:audio|clip|recording))|no such sound|"
    r"does(?:n't| not) (?:occur|appear|contain)|(?:can|could)(?:not|n't) (?:hear|determine|find|"
    r"tell|listen|process)|unable to|sorry)\b"
)
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−", "-") | {"\u00a0": " ", "\u202f": " ", "：": ":"})
_FENCE = re.compile(r"```[a-z]*\s*(.*?)```", re.S)
_KEYS = (
    ("onset", "offset"),
    ("start", "end"),
    ("start_time", "end_time"),
    ("starttime", "endtime"),
    ("begin", "end"),
    ("from", "to"),
)


def parse_spans(text: str) -> ParsedSpans:
    """Every span that the text names.

    Examples
    --------
    >>> parse_spans('{"onset": 1.5, "offset": 3}')
    ParsedSpans(spans=((1.5, 3.0),), stage='json')
    >>> parse_spans("It is heard from 0:01 to 0:03.5 and again from 7 to 9 seconds.")
    ParsedSpans(spans=((1.0, 3.5), (7.0, 9.0)), stage='range')
    >>> parse_spans("about 3 seconds in").stage
    'none'
    """
    plain = text.translate(_DASHES).strip().lower()
    if not plain:
        return ParsedSpans((), "empty")
    found = _from_json(plain)
    if found:
        return _checked(found, "json")
    for stage, pairs in _written(plain):
        if pairs:
            return _checked(pairs, stage)
    return ParsedSpans((), "refusal" if _REFUSAL.search(plain) else "none")


def _checked(pairs: list[Span], stage: str) -> ParsedSpans:
    """Only spans that have a length; `inverted` when none has."""
    good = tuple(dict.fromkeys([pair for pair in pairs if pair[1] > pair[0] >= 0]))
    return ParsedSpans(good, stage if good else "inverted")


# --------------------------------------------------------------------------- sentences


def _written(text: str) -> Iterator[tuple[str, list[Span]]]:
    """Spans by each form of writing, the surest first."""
    yield "length", [(a, a + b) for a, b in _matches(_LENGTH, text)]
    ranges = sorted([*_RANGE.finditer(text), *_BETWEEN.finditer(text)], key=lambda m: m.start())
    yield "range", [_ends(m) for m in ranges]
    yield "pair", _matches(_PAIR, text)
    yield "named", _matches(_NAMED, text)
    whole = _BARE.fullmatch(text)
    yield "pair", [_ends(whole)] if whole else []


def _matches(pattern: re.Pattern[str], text: str) -> list[Span]:
    return [_ends(match) for match in pattern.finditer(text)]


def _ends(match: re.Match[str]) -> Span:
    first, last = match["a"], match["b"]
    unit = re.search(r"[a-z]+", last)
    # "1-3 min" and "500-900 ms": the unit stands once for both, unless the first has its own.
    if unit and not re.search(r"[a-z:]", first) and not re.search(r"\d", last[unit.end() :]):
        first += unit.group()
    return seconds(first), seconds(last)


def seconds(time: str) -> float:
    """Seconds of one written time; ValueError when it is none.

    Examples
    --------
    >>> [seconds(t) for t in ("3.5", "1:05.5", "0:01:05", "1 min 5 s", "1m05s", "250 ms")]
    [3.5, 65.5, 65.0, 65.0, 65.0, 0.25]
    """
    if ":" in time:
        value = 0.0
        for part in time.split(":"):
            value = value * 60 + float(part)
        return value
    total = 0.0
    parts = re.findall(rf"({_NUMBER})\s*([a-z]*)", time)
    if not parts:
        raise ValueError(f"no time in {time!r}")
    for number, unit in parts:
        scale = 0.001 if unit.startswith(("ms", "mil")) else 60.0 if unit.startswith("m") else 1.0
        total += float(number) * scale
    return round(total, 6)


# --------------------------------------------------------------------------- JSON


def _from_json(text: str) -> list[Span]:
    """Spans of the JSON that the text is, or holds in a fence or in its midst."""
    fenced = _FENCE.search(text)
    body = fenced[1] if fenced else text
    for opening in ("[", "{"):
        start = body.find(opening)
        # An object inside a list is found by the list, a list inside an object by the object.
        if start < 0 or (opening == "[" and 0 <= body.find("{") < start):
            continue
        spans = _spans_at(body, start)
        if spans:
            return spans
    start = body.find("[")
    return _spans_at(body, start) if start >= 0 else []


def _spans_at(body: str, start: int) -> list[Span]:
    """Spans of the JSON values from `start` on, as far as they follow each other."""
    decoder = json.JSONDecoder()
    spans: list[Span] = []
    while 0 <= start < len(body):
        try:
            value, end = decoder.raw_decode(body, start)
        except (ValueError, RecursionError):
            break
        spans += _collect(value)
        following = re.compile(r"[\s,;]*(?:and\s*)?(?=[\[{])").match(body, end)
        start = following.end() if following else -1
    return spans


def _collect(value: Any) -> list[Span]:
    if isinstance(value, dict):
        keys = {key.replace(" ", "_").replace("-", "_"): key for key in value}
        for first, last in _KEYS:
            # "onset_seconds", "start_s" and the like.
            names = [next((keys[k] for k in keys if _is(k, want)), None) for want in (first, last)]
            if names[0] is not None and names[1] is not None:
                pair = _pair(value[names[0]], value[names[1]])
                return [pair] if pair else []
        return [span for inner in value.values() for span in _collect(inner)]
    if isinstance(value, list):
        if len(value) == 2 and (pair := _pair(*value)):
            return [pair]
        return [span for inner in value for span in _collect(inner)]
    if isinstance(value, str):
        return [_ends(match) for match in _RANGE.finditer(value)]
    return []


def _is(key: str, name: str) -> bool:
    return key == name or key in (f"{name}_s", f"{name}_sec", f"{name}_seconds", f"{name}_time")


def _pair(first: Any, last: Any) -> Span | None:
    times = (_json_time(first), _json_time(last))
    return None if times[0] is None or times[1] is None else (times[0], times[1])


def _json_time(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str) and re.fullmatch(rf"\s*{_TIME}\s*", value):
        return seconds(value.strip())
    return None
