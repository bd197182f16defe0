"""TACoBeLAL's three label rules: Qwen-type audio models, Audio Flamingo 3, text-only models.

Faults that are kept: the first capital token that is a label wins, so the article "A" and letters
listed in a refusal become answers; "b" is valid for one rule and invalid for the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from lalm_bench.parsing import Parsed
from lalm_bench.types import Choice

_CAPITALS = re.compile(r"\b[A-Z]{1,3}\b")
_ANNOUNCED = re.compile(
    r"\b(?:option|answer)\b[^a-z0-9]{0,8}(?:is\b)?[^a-z0-9]{0,8}\b([a-z]{1,3})\b", re.IGNORECASE
)


def normalise(caption: str) -> str:
    """Identity of a caption: case, runs of blanks and closing punctuation do not count.

    Examples
    --------
    >>> normalise("  A dog   BARKS!. ")
    'a dog barks'
    """
    return " ".join(caption.lower().split()).rstrip(" .,!?:;")


def tacobelal(text: str, choices: Sequence[Choice]) -> Parsed:
    """Rule for Qwen2-Audio, Qwen2.5-Omni and Voxtral (case-insensitive where a case is tried).

    Stages: `exact-label`, `json-label`, `regex-label`, `text-match`; `none` stands for TACoBeLAL's
    `invalid`.
    """
    answer, labels = text.strip(), [c.label for c in choices]
    return (
        _by_label(answer, labels, upper=True)
        or _announced(answer, labels)
        or _by_text(answer, choices)
    )


def tacobelal_af3(text: str, choices: Sequence[Choice]) -> Parsed:
    """Rule for Audio Flamingo 3: as `tacobelal`, case-sensitive, without announced letters."""
    answer = text.strip()
    found = _by_label(answer, [c.label for c in choices], upper=False)
    return found or _by_text(answer, choices)


def tacobelal_text(text: str, choices: Sequence[Choice]) -> Parsed:
    """Rule for text-only models: a label, JSON or a capital token; they were asked again if not."""
    found = _by_label(text.strip(), [c.label for c in choices], upper=False)
    return found or Parsed(None, "none")


def _by_label(answer: str, labels: list[str], upper: bool) -> Parsed | None:
    if not answer:
        return Parsed(None, "empty")
    for tried in (answer, answer.upper()) if upper else (answer,):
        if tried in labels:
            return Parsed(tried, "exact-label")
    field = _json_label(answer)
    if field is not None:
        field = field.upper() if upper else field
        if field in labels:
            return Parsed(field, "json-label")
    for match in _CAPITALS.finditer(answer):
        if match.group() in labels:
            return Parsed(match.group(), "regex-label")
    return None


def _json_label(answer: str) -> str | None:
    if not answer.startswith("{"):
        return None
    try:
        record = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    label = record.get("label")
    return label.strip() if isinstance(label, str) else None


def _announced(answer: str, labels: list[str]) -> Parsed | None:
    for match in _ANNOUNCED.finditer(answer):
        if match[1].upper() in labels:
            return Parsed(match[1].upper(), "regex-label")
    return None


def _by_text(answer: str, choices: Sequence[Choice]) -> Parsed:
    normal = normalise(answer)
    for choice in choices:
        if normalise(choice.text) == normal:
            return Parsed(choice.label, "text-match")
    return Parsed(None, "none")
