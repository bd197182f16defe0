"""When a short token inside a sentence is an option label and when it is only a word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from lalm_bench.parsing.options import OptionSet, fold

_OPEN = "([{<\"'“‘*_`$"
_CLOSE = ")]}>\"'”’*_`$"
_WORD = "0-9A-Za-zÀ-ɏ"
# After the article come nouns, adjectives and adverbs; after a label used as a noun, these.
_AFTER_LABEL = re.compile(
    r" (?:and|as|at|based|because|but|by|due|for|from|given|hence|in|instead|is|not|on|or|over|"
    r"rather|since|so|therefore|was|when|where|which|while)\b"
)
_AFTER_PRONOUN = re.compile(r" (?:is|because|since)\b")
_END = re.compile(r"[)\]}>\"'”’*_`]{0,4}(?:\s*$|\s*[.,:;!?)\]}/&。，：；！？）]|\s*\n|\s+[-–—]+\s)")
_LIST = re.compile(
    r"[)\]}\"'”’*_`]{0,4}"
    r"(?:\s*[/&+,]\s*(?:and/or\b|and\b|or\b|&)?|\s+(?:and/or|and|or|plus|as well as)\b)"
    r"(?:\s+(?:also|even|maybe|perhaps|possibly))?"
    r"(?:\s*(?:option|answer|choice)\b)?[\s(\[\"'“‘*_`]{0,4}",
    re.IGNORECASE,
)
# `vitamin A` and `Event A` name something else than an option.
_OTHER_NAME = re.compile(
    r"\b(?:chord|clip|event|grade|group|hepatitis|key(?: of)?|notes?|part|person|plan|section|"
    r"side|sound|speaker|type|vitamin) $"
)
_MUSIC = re.compile(r" (?:flat|major|minor|natural|sharp)\b")


@dataclass(frozen=True, slots=True)
class Token:
    """A place where a label may be named: `text[start:end]` is it, wrapping excluded."""

    label: str
    start: int
    end: int
    wrapped: bool
    as_written: bool
    word: str

    @property
    def is_article(self) -> bool:
        """Whether the token is also a word or a number of ordinary prose."""
        return self.word in ("a", "i") or self.word.isdigit() or not self.as_written


@lru_cache(maxsize=64)
def pattern(width: int) -> re.Pattern[str]:
    """A separate token of at most `width` letters or digits.

    Contractions, hyphenated words, abbreviations, decimals and musical accidentals are no tokens.
    """
    return re.compile(
        rf"(?<![{_WORD}])(?<![{_WORD}]['’\-.])(?P<label>[{_WORD}]{{1,{width}}})"
        rf"(?![{_WORD}#♯♭]|['’\-][{_WORD}]|\.[A-Za-z]\.)(?!(?<=\d)[.,:/]\d)"
    )


def token(text: str, match: re.Match[str], options: OptionSet) -> Token | None:
    """The label a match of `pattern` spells, or None when it spells none."""
    word = match["label"]
    label = options.written.get(word) or options.keys.get(fold(word))
    if label is None:
        return None
    start, end = match.span("label")
    wrapped = start > 0 and end < len(text) and text[start - 1] in _OPEN and text[end] in _CLOSE
    as_written = word in options.written or (len(word) == 1 and word.isupper())
    return Token(label, start, end, wrapped, as_written, fold(word))


def closes(text: str, end: int) -> bool:
    """Whether a stop, a bracket or the end of the text follows a place."""
    return _END.match(text, end) is not None


def stated(text: str, found: Token, noun: bool = False) -> bool:
    """Whether the token is a label where an answer is expected.

    Parameters
    ----------
    noun : bool
        The token directly follows "option" or the like, so a capital A is no article.
    """
    if found.wrapped or closes(text, found.end):
        return True
    if _MUSIC.match(text, found.end):
        return False
    if found.word == "i":
        return _AFTER_PRONOUN.match(text, found.end) is not None
    if not found.is_article or (noun and found.word == "a" and found.as_written):
        return True
    if found.word.isdigit() or (found.word != "a" and not found.as_written):
        # A lower-case letter other than a and i is no English word.
        return len(found.word) == 1 and found.word.isalpha()
    return _AFTER_LABEL.match(text, found.end) is not None


def names_other(text: str, found: Token) -> bool:
    """Whether the token is part of another name, as in "vitamin A" or "group B"."""
    return _OTHER_NAME.search(fold(text[max(0, found.start - 12) : found.start])) is not None


def stands_alone(text: str, found: Token) -> bool:
    """Whether the token is a label although nothing announces it; stricter than `stated`."""
    if found.wrapped:
        return True
    if names_other(text, found) or _MUSIC.match(text, found.end):
        return False
    if found.word == "i" or not found.as_written:
        return (
            text.startswith(")", found.end)
            and "(" not in text[max(0, found.start - 12) : found.start]
        )
    if not found.is_article:
        return True
    if closes(text, found.end):
        return True
    capital = text[found.start] == "A"
    return capital and _AFTER_LABEL.match(text, found.end) is not None


def listed(text: str, first: Token, options: OptionSet) -> frozenset[str]:
    """Labels joined to the first one by commas, slashes, `and` or `or`, the first included."""
    labels, end = {first.label}, first.end
    find = pattern(options.width)
    while joint := _LIST.match(text, end):
        match = find.match(text, joint.end())
        found = token(text, match, options) if match else None
        if found is None or not (found.as_written or found.wrapped or not first.as_written):
            break
        more = _LIST.match(text, found.end)
        if not (found.wrapped or closes(text, found.end) or more):
            break
        labels.add(found.label)
        end = found.end
    return frozenset(labels)
