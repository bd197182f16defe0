"""Second readings of an answer in which the first rule found no label.

`stem` looks for an option's words, stripped of their endings, in the conclusion; `overlap` counts
the words that a text shares with each option. Both come from the audio chain-of-thought
faithfulness study, which applied `stem` to SAKURA and `overlap` to MMAU and MMAR, with a shorter
window (`overlap_conditioned`) to answers given after reasoning was handed back.

Where the study's description leaves the case open, bare letters are read in capitals only ("is a
dog" names nothing) and letters in parentheses in either case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial

from lalm_bench.parsing import Parsed
from lalm_bench.parsing.language import denied
from lalm_bench.parsing.options import fold
from lalm_bench.types import Choice

OUT_OF_RANGE = "out-of-range"
_NONE = Parsed(None, "none")
_PARENTHESES = re.compile(r"\(([A-Ja-j])\)")
_STATED = re.compile(r"\b(?i:answer|choice|option|is)\s+([A-J])\b")
_ANNOUNCED = re.compile(r"\b(?i:option|choice|answer is|answer|is)\s*[:*]?\s*([A-J])\b")
_FINAL = re.compile(r"\b([B-HJ])\b")
_SENTENCE = re.compile(r"[^.!?\n]+")
# A conclusion is short; the bound keeps runaway answers from costing seconds.
_CONCLUSION = 2_000
_WORD = re.compile(r"\w+")
_PUNCTUATION = re.compile(r"[^\w\s]")
# Longest first, as they are tried.
_SUFFIXES = (
    *("ness", "ment", "tion", "sion", "able", "ible", "ance", "ence", "less"),
    *("ous", "ity", "ing", "ive", "ful", "est", "ed", "ly", "er", "es", "s", "y"),
)
_STOP = (
    "the a an is are was were to of and or in on it this that for with as by at but not be about "
    "which they i"
)
_STOP_WORDS = frozenset(f"{_STOP} you he she we".split())
_STOP_WORDS_CONDITIONED = frozenset(_STOP.split())


def stem(text: str, choices: Sequence[Choice], *, guard: bool = False) -> Parsed:
    """The last letter in parentheses, else an option's stems in the conclusion, else `is X`.

    Stages: `parenthesised-letter`, `stem`, `stated-letter`; else `out-of-range` or `none`.

    Parameters
    ----------
    text : str
    choices : sequence of Choice
    guard : bool
        Pass over what is named only to be ruled out.
    """
    if letter := _last(_PARENTHESES, text, 0, guard):
        return _known(letter, "parenthesised-letter", choices)
    if sentences := _sentences(text):
        last = sentences[-1]
        short = len(last[0].split()) < 4 and len(sentences) > 1
        start = max((sentences[-2] if short else last).start(), len(text) - _CONCLUSION)
        low = fold(text)
        for choice in sorted(choices, key=lambda c: -len(c.text)):
            pattern = _stems(choice.text)
            found = pattern.finditer(low, start) if pattern else ()
            if any(not (guard and denied(low, m.start(), m.end())) for m in found):
                return Parsed(choice.label, "stem")
    letter = _last(_STATED, text, len(text) - 50, guard)
    return _known(letter, "stated-letter", choices) if letter else _NONE


def overlap(
    text: str,
    choices: Sequence[Choice],
    *,
    guard: bool = False,
    window: int = 300,
    sentences: int | None = 3,
    stop_words: frozenset[str] = _STOP_WORDS,
) -> Parsed:
    """A letter near the end, else the option that shares most words with the last sentences.

    Stages: `parenthesised-letter`, `announced-letter`, `overlap`, `final-letter`; else
    `out-of-range` or `none`.

    Parameters
    ----------
    text : str
    choices : sequence of Choice
    guard : bool
        Pass over what is named only to be ruled out.
    window : int
        Characters at the end in which letters are looked for.
    sentences : int, optional
        Sentences at the end in which words are looked for; None for all.
    stop_words : frozenset of str
        Words that tell nothing.
    """
    end = len(text) - window
    for pattern, stage in (
        (_PARENTHESES, "parenthesised-letter"),
        (_ANNOUNCED, "announced-letter"),
    ):
        if letter := _last(pattern, text, end, guard):
            return _known(letter, stage, choices)
    bounds = [m.start() for m in _sentences(text)]
    start = bounds[-sentences] if sentences is not None and len(bounds) >= sentences else 0
    low = fold(text)
    words = {c.label: set(_WORD.findall(fold(c.text))) - stop_words for c in choices}
    telling = set().union(*words.values())
    said = {
        m[0]
        for m in _WORD.finditer(low, start)
        if m[0] in telling and not (guard and denied(low, m.start(), m.end()))
    }
    best, label = 0.0, None
    for name, own in words.items():
        shared = len(own & said)
        score = shared + shared / len(own) if shared else 0.0
        if score > best:
            best, label = score, name
    if label is not None:
        return Parsed(label, "overlap")
    letter = _last(_FINAL, text, len(text) - 30, guard)
    return _known(letter, "final-letter", choices) if letter else _NONE


Rule = Callable[..., Parsed]
RULES: dict[str, Rule] = {
    "stem": stem,
    "overlap": overlap,
    "overlap_conditioned": partial(
        overlap, window=100, sentences=None, stop_words=_STOP_WORDS_CONDITIONED
    ),
}


def _sentences(text: str) -> list[re.Match[str]]:
    return [m for m in _SENTENCE.finditer(text) if not m[0].isspace()]


def _known(letter: str, stage: str, choices: Iterable[Choice]) -> Parsed:
    for choice in choices:
        if choice.label.upper() == letter.upper():
            return Parsed(choice.label, stage)
    return Parsed(None, OUT_OF_RANGE)


def _last(pattern: re.Pattern[str], text: str, start: int, guard: bool) -> str | None:
    low = fold(text) if guard else ""
    letter = None
    for match in pattern.finditer(text, max(start, 0)):
        if not (guard and denied(low, match.start(), match.end())):
            letter = match[1]
    return letter


@lru_cache(maxsize=4096)
def _stems(text: str) -> re.Pattern[str] | None:
    words = _PUNCTUATION.sub("", fold(text)).split()
    if not words:
        return None
    stems = r"\s*".join([re.escape(_stem(word)) + r"[^\W\d_]*" for word in words])
    return re.compile(rf"\b{stems}\b")


def _stem(word: str) -> str:
    if len(word) <= 3:
        return word
    suffix = next((s for s in _SUFFIXES if word.endswith(s)), "")
    kept = word[: len(word) - len(suffix)]
    if len(kept) > 7:
        return kept[:6]
    return kept if len(kept) >= 3 else word
