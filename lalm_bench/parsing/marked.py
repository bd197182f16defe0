"""Places where an answer is set apart by syntax: JSON fields, tags, boxes, closed reasoning."""

from __future__ import annotations

import json
import re

# Every repetition is bounded, so that a runaway answer costs linear time.
_FIELD = re.compile(
    r"[\"'](?:label|answer|choice|option)[\"']\s{0,8}:\s{0,8}"
    r"(?P<value>\"(?:[^\"\\]|\\.){0,400}\"|'[^'\n]{0,400}'|\[[^\]]{0,200}\]|[^\s,}\[\"']{1,40})",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"\\boxed\{\s{0,8}(?:\\(?:text|mathrm|mathbf|textbf)\{)?(?P<boxed>[^{}]{0,400})\}"
    r"|<(?:answer|conclusion)>(?P<inside>[^<]{0,400})(?:<|$)",
    re.IGNORECASE,
)
_THOUGHT_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)


def fields(answer: str) -> list[str | list[str]]:
    """Values of the answer fields of any JSON-like object, also fenced, nested or cut off.

    A list value stays a list: it names several options.
    """
    if ":" not in answer or ('"' not in answer and "'" not in answer):
        return []
    return [_value(match["value"]) for match in _FIELD.finditer(answer)]


def _value(raw: str) -> str | list[str]:
    if raw.startswith("["):
        return [part.strip() for part in raw[1:-1].split(",")]
    if raw.startswith('"'):
        try:
            return str(json.loads(raw, strict=False))
        except ValueError:
            return raw[1:-1]
    return raw[1:-1] if raw.startswith("'") else raw


def tags(answer: str) -> list[str]:
    r"""Contents of `\boxed{...}`, `<answer>` and `<Conclusion>`, the last one first."""
    if "<" not in answer and "\\boxed" not in answer:
        return []
    found = [match["boxed"] or match["inside"] or "" for match in _TAG.finditer(answer)]
    return [content.strip() for content in reversed(found)]


def after_thoughts(answer: str) -> str:
    """What follows the closed reasoning of a thinking model; everything when nothing does."""
    ends = [match.end() for match in _THOUGHT_END.finditer(answer)] if "</" in answer else []
    return (answer[ends[-1] :].strip() if ends else "") or answer
