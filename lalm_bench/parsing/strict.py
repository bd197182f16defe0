r"""The benchmark's own extractor of option labels: one rule for every multiple-choice task.

Precedence, first hit wins (its name is the `stage`):

1. `exact`      the answer is a label, wrapping and case aside: `b`, `(B)`, `**B**`
2. `text`       the answer is, or begins with, one option's text
3. `json`       a field label, answer, choice or option
4. `tag`        `\boxed{B}`, `<answer>B</answer>`, `<Conclusion>B</Conclusion>`
5. `leading`    a label first: `B. two beeps`
6. `statement`  "the answer is (b)", "I choose B", "C is correct"; the last one counts
7. `mention`    one option's text, in quotes or anywhere, not denied
8. `letter`     one label standing alone, not denied

An answer without a label is `empty`, `refusal`, `several` or `none`. The order of the rules, and
refusals as a stage of their own, answer misreadings recorded by TACoBeLAL, where the article "A"
and letters listed in refusals were taken for answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from lalm_bench.parsing import Parsed, leading, letters, marked, statements
from lalm_bench.parsing.language import CONCLUDING, denied, refused, sentence_start
from lalm_bench.parsing.options import WRAPPING, OptionSet, bounded, fold, option_set, tidy
from lalm_bench.types import Choice

# A conclusion stands at the end; the bound keeps runaway answers from costing seconds.
_TAIL = 8_000
_QUOTES = "\"'“”‘’`"


def extract(text: str, choices: Sequence[Choice]) -> Parsed:
    """Label that the answer names, with the rule that found it.

    Labels written in Latin letters or digits are found anywhere; others only where they are the
    whole answer or a field's value.

    Parameters
    ----------
    text : str
        The model's answer, reasoning included.
    choices : sequence of Choice
        The item's options, in any order: it never matters.

    Returns
    -------
    Parsed
        `label` is None exactly for the stages `empty`, `refusal`, `several` and `none`.

    Examples
    --------
    >>> options = [Choice("A", "a dog"), Choice("C", "two beeps")]
    >>> extract("I hear no dog, so the answer is (c).", options)
    Parsed(label='C', stage='statement', conflict=False)
    >>> extract("None of the options (A or C) fits.", options).stage
    'refusal'
    """
    # Nearly all answers are a bare label, and 100k of them must cost nothing.
    for choice in choices:
        if choice.label == text:
            return _exact(choice.label)
    answer = text.strip()
    if not answer:
        return Parsed(None, "empty")
    return _extract(answer, option_set(tuple(choices)))


@lru_cache(maxsize=1024)
def _exact(label: str) -> Parsed:
    return Parsed(label, "exact")


def _extract(answer: str, options: OptionSet, within: bool = False) -> Parsed:
    label = options.named(answer)
    if label is not None:
        return Parsed(label, "exact")
    whole = _whole_text(answer, options)
    if whole is not None:
        return whole
    if not within:
        found = _marked(_end(answer), options)
        if found is not None:
            return found
        rest = marked.after_thoughts(answer)
        if rest is not answer:
            return _extract(rest, options, within=True)
    head = answer[:_TAIL]
    begun = leading.parse(head, fold(head), options)
    if begun is not None and begun.stage != "text":
        return begun
    return _searched(_end(answer), options, begun)


def _end(answer: str) -> str:
    if len(answer) <= _TAIL:
        return answer
    end = answer[-_TAIL:]
    # Half a sentence may have lost its "not".
    first = re.search(r"[.!?]\s|\n", end)
    return end[first.end() :] if first and first.end() < _TAIL // 2 else end


def _whole_text(answer: str, options: OptionSet) -> Parsed | None:
    words = tidy(answer)
    label = options.cased.get(words)
    low = fold(words)
    if label is None and low in options.folded:
        label = options.folded[low]
        return Parsed(label, "text") if label is not None else Parsed(None, "several")
    return Parsed(label, "text") if label is not None else None


def _marked(answer: str, options: OptionSet) -> Parsed | None:
    labels, texts, other = set(), set(), None
    for value in marked.fields(answer):
        for part in value if isinstance(value, list) else [value]:
            found = _value(part, options)
            if found is None or found.label is None:
                other = found or other
            elif found.stage in ("text", "mention"):
                texts.add(found.label)
            else:
                labels.add(found.label)
    chosen = labels or texts
    if chosen:
        conflict = bool(labels and texts - labels)
        return (
            Parsed(chosen.pop(), "json", conflict) if len(chosen) == 1 else Parsed(None, "several")
        )
    for content in marked.tags(answer):
        found = _value(content, options)
        if found is not None:
            return Parsed(found.label, "tag" if found.label else found.stage, found.conflict)
    return other


def _value(content: str, options: OptionSet) -> Parsed | None:
    found = _extract(content, options, within=True) if content.strip(WRAPPING) else None
    return None if found is None or found.stage == "none" else found


def _searched(answer: str, options: OptionSet, begun: Parsed | None) -> Parsed:
    text = "\n".join([" ".join(line.split()) for line in answer.splitlines()])
    low = fold(text)
    stated = statements.find(text, low, options)
    strong = [s for s in stated if s.strong]
    if strong:
        return _last(strong, low, options)
    covered = bytearray(len(low))
    named = _mentions(low, options, covered)
    # "A dog barks. Then two beeps." tells what is heard; "True. It is not false that ..." answers.
    if begun is not None and all(labels <= {begun.label} for _, _, labels in named):
        return begun
    if refused(low, covered):
        return Parsed(None, "refusal")
    weak = {label for s in stated for label in s.labels}
    if len(weak) == 1:
        return _last(stated, low, options)
    label = _unique_mention(low, named)
    if label is not None and not weak:
        return Parsed(label, "mention")
    alone = weak | _standing_alone(text, low, covered, options)
    if len(alone) == 1:
        return Parsed(alone.pop(), "letter")
    return Parsed(
        None, "several" if alone or len({x for _, _, n in named for x in n}) > 1 else "none"
    )


def _last(stated: list[statements.Statement], low: str, options: OptionSet) -> Parsed:
    last = stated[-1]
    start = sentence_start(low, last.at)
    labels = {label for s in stated if s.at >= start for label in s.labels}
    if len(labels) > 1:
        return Parsed(None, "several")
    other = frozenset() if last.by_text else leading.beside(low, last.end, options)
    label = labels.pop()
    return Parsed(label, "statement", bool(other) and label not in other)


_Mention = tuple[int, int, frozenset[str]]


def _mentions(low: str, options: OptionSet, covered: bytearray) -> list[_Mention]:
    """Places where an option's text stands and is not denied; `covered` marks all of them."""
    found = []
    for phrase, labels in options.phrases:
        start = low.find(phrase)
        while start >= 0:
            end = start + len(phrase)
            # A text inside a longer option's text names the longer one only.
            if covered.find(0, start, end) >= 0 and bounded(low, start, end):
                covered[start:end] = b"\x01" * len(phrase)
                if not denied(low, start, end):
                    found.append((start, end, labels))
            start = low.find(phrase, end)
    return sorted(found, key=lambda m: m[0])


def _unique_mention(low: str, named: list[_Mention]) -> str | None:
    quoted = [
        m
        for m in named
        if m[0] > 0
        and low[m[0] - 1] in _QUOTES
        and low[m[1] : m[1] + 2].lstrip(".,")[:1] in _QUOTES
    ]
    approved = [m for m in named if statements.approved(low, m[1])]
    concluding = []
    if named:
        start = sentence_start(low, named[-1][0])
        if CONCLUDING.search(low, start, named[-1][0]):
            concluding = [m for m in named if m[0] >= start]
    for group in (approved, quoted, named, concluding):
        labels = {label for _, _, labels in group for label in labels}
        if len(labels) == 1:
            return labels.pop()
    return None


def _standing_alone(text: str, low: str, covered: bytearray, options: OptionSet) -> set[str]:
    labels = set()
    for match in letters.pattern(options.width).finditer(text):
        found = letters.token(text, match, options)
        if found is None or covered[found.start] or not letters.stands_alone(text, found):
            continue
        if not denied(low, found.start, found.end):
            labels.add(found.label)
    return labels
