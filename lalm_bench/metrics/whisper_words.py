"""Words of a transcript under Whisper's English rules, without running the rules on every word.

The rules (three dozen substitutions over the whole text, then a word-by-word reading of numbers)
cost milliseconds a minute of speech, and for nearly every word they do nothing that depends on its
neighbours. Those words are looked up. The rest (numbers, fillers, `and`, symbols, whatever is not
plain ASCII) is taken in runs of neighbouring words, which the rules then read as they stand. The
outcome is that of the rules on the whole text, character for character; the tests hold the two
against each other.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from lalm_bench.metrics.spelling import american

Words = tuple[str, ...]

_BRACKETS = re.compile(r"[<\[][^>\]]*[>\]]")
_PARENTHESES = re.compile(r"\(([^)]+?)\)")
_PLAIN = re.compile(r"\"?([a-z]+(?:['-][a-z]+)*)[,;:!?.]?\"?")
# They read what stands before them: "he's been", "two and a half", "5 th", "he 's".
_BACKWARD = re.compile(r"been|gone|done|got|st\b|nd\b|rd\b|th\b|s\b")
_ENDED = re.compile(r"([a-z]+)'(s|d|m|ll|re|ve)")
_OTHER = "x"  # no rule knows it
_LONGEST = 64
_MOST_WORDS = 1 << 18

_single: dict[str, str] = {}
"""Token -> the one word that it gives, whatever stands beside it."""
_several: dict[str, Words | None] = {}
"""Other tokens -> their words, or None where the neighbours decide."""


def whisper_words(text: str) -> list[str]:
    """Normalised words, in American spelling.

    Examples
    --------
    >>> whisper_words("Um, it's TWENTY-ONE colours (laughs).")
    ['it', 'is', '21', 'colors']
    """
    text = text.lower()
    # Brackets may span words, so they go first, as in the rules.
    if "<" in text or "[" in text:
        text = _BRACKETS.sub("", text)
    if "(" in text:
        text = _PARENTHESES.sub("", text)
    tokens = text.split(" ")
    found = [*map(_single.get, tokens)]
    if None not in found:
        return found  # type: ignore[return-value]
    words: list[str] = []
    place, last = 0, len(tokens) - 1
    while True:
        try:
            open_ = found.index(None, place)
        except ValueError:
            words += found[place:]  # type: ignore[arg-type]
            return words
        words += found[place:open_]  # type: ignore[arg-type]
        given = _given(tokens[open_])
        if given is not None:
            words += given
            place = open_ + 1
        else:
            first, place = _run(tokens, open_)
            if first < open_:
                del words[len(words) - len(_given(tokens[first]) or ()) :]
            run = " ".join(tokens[first:place])
            read = _read if len(run) <= _LONGEST else _read.__wrapped__
            words += read(run, first > 0, place <= last)
        if place > last:
            return words


def _run(tokens: list[str], start: int) -> tuple[int, int]:
    """Bounds of the run from `start`: tokens that need each other, and what they look back on."""
    end, looks_back = _stretch(tokens, start)
    first = start - 1 if looks_back and start else start
    # A later stretch may look back, past one plain token, on this one.
    while end + 1 < len(tokens) and _given(tokens[end + 1]) is None:
        further, looks_back = _stretch(tokens, end + 1)
        if not looks_back:
            break
        end = further
    return first, end


def _stretch(tokens: list[str], start: int) -> tuple[int, bool]:
    """End of the open tokens from `start` on, and whether one may read what stands before."""
    end, looks_back = start, False
    while end < len(tokens) and _given(tokens[end]) is None:
        token = tokens[end]
        looks_back = (
            looks_back
            or "'" in token
            or "half" in token
            or _BACKWARD.match(token) is not None
            or not token.isascii()
        )
        end += 1
    return end, looks_back


def _given(token: str) -> Words | None:
    """Words of a token that needs no neighbours; None for any other."""
    one = _single.get(token)
    if one is not None:
        return (one,)
    if token in _several:
        return _several[token]
    words = _alone(token) if len(token) <= _LONGEST else None
    if len(_single) + len(_several) >= _MOST_WORDS:
        _single.clear()
        _several.clear()
    if words is not None and len(words) == 1:
        _single[token] = words[0]
    elif len(token) <= _LONGEST:
        _several[token] = words
    return words


def _alone(token: str) -> Words | None:
    """Words of a token by its shape; None where a rule may see more than the token."""
    shape = _PLAIN.fullmatch(token)
    if shape is None:
        return None
    core = shape[1]
    if "half" in core or _BACKWARD.match(core):
        return None
    parts = re.split("['-]", core)
    rules, replaced = _rules(), _replaced()
    numbers = rules.standardize_numbers.words
    if any(part in numbers or re.fullmatch(rules.ignore_patterns, part) for part in parts):
        return None
    ended = _ENDED.fullmatch(core)
    if ended and core not in replaced and ended[1] not in replaced:
        parts = [ended[1], *_ending(ended[2])]
    elif "'" in core or not replaced.isdisjoint(parts):
        parts = rules(f"{_OTHER} {token} {_OTHER}").split()[1:-1]
        # "twon't" becomes "two not", and a number reads its neighbours.
        if not parts or any(p in numbers or not p.isalpha() for p in parts):
            return None
    return tuple([american(part) for part in parts])


@lru_cache(maxsize=1 << 16)
def _read(run: str, after: bool, before: bool) -> Words:
    """The rules on a run that stands after and before other words, or at an end of the text."""
    framed = f"{_OTHER} {run}" if after else run
    words = _rules()(f"{framed} {_OTHER}" if before else framed).split()
    return tuple([american(word) for word in words[after : len(words) - before]])


@cache
def _rules() -> Any:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    # The class takes a spelling table: none, because `american` has its own.
    return EnglishTextNormalizer({})  # type: ignore[no-untyped-call]


@cache
def _ending(ending: str) -> Words:
    """Words of a contraction such as `ll`, whatever it ends."""
    return tuple(_rules()(f"{_OTHER} {_OTHER}'{ending} {_OTHER}").split()[2:-1])


@cache
def _replaced() -> frozenset[str]:
    """Whole words that a rule writes otherwise, such as `mr` and `let's`."""
    return frozenset(re.findall(r"\\b([a-z']+)\\b", " ".join(_rules().replacers)))
