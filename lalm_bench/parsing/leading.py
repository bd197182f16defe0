"""Answers that begin with the label or with the option's text."""

from __future__ import annotations

import re

from lalm_bench.parsing import Parsed, letters
from lalm_bench.parsing.language import denied
from lalm_bench.parsing.options import WRAPPING, OptionSet

_OPENING = re.compile(r"[\s\"'“‘*_`#>(\[{<$]{0,6}")
_AFTER = re.compile(
    r"[\"'”’*_`)\]}>$]{0,4}"
    r"(?P<sep>\s*(?:[.:;!?=,。：；！，、]|[)\]])+|\s+[-–—]+(?=\s)|[-–—]+\s|\s*(?:\n|$)| )"
)
_AFTER_TEXT = re.compile(r"[\"'”’*_`)]{0,3}\s?(?:[.;:!?\n]|[-–—]\s|,)")
_ALSO = re.compile(r",? ?(?:and|or)?\b ?[\"'“‘]?")
_ITEM_ENDS = re.compile(r"[)\].:*]{1,3}\s{0,3}")
_FOLLOWED = re.compile(r" (?:is|was|because|since|as|seems|would)\b")
_EQUATED = " \t\r\n-–—=" + WRAPPING
_REACH = 400


def beside(low: str, end: int, options: OptionSet) -> frozenset[str]:
    """Labels whose text stands right after a label that ends at `end` (folded text)."""
    return options.texts_beside(low[end : end + _REACH].lstrip(_EQUATED))


def parse(text: str, low: str, options: OptionSet) -> Parsed | None:
    """The label or the option text at the very start, None when neither stands there.

    Parameters
    ----------
    text, low : str
        The answer without surrounding blanks, and its folded form.
    """
    opening = _OPENING.match(text)
    start = opening.end() if opening else 0
    texts, stop = _text_at(low, start, options)
    if texts and _is_whole(low, stop, options):
        return Parsed(next(iter(texts)), "text") if len(texts) == 1 else Parsed(None, "several")
    match = letters.pattern(options.width).match(text, start)
    found = letters.token(text, match, options) if match else None
    if found is None or (texts and stop > found.end):
        return None
    if len(letters.listed(text, found, options)) > 1:
        return Parsed(None, "several")
    if denied(low, found.start, found.end):
        return None
    if not _separated(text, low, found, options) or _enumerates(text, low, found, options):
        return None
    other = beside(low, found.end, options)
    return Parsed(found.label, "leading", bool(other) and found.label not in other)


def _text_at(low: str, start: int, options: OptionSet) -> tuple[frozenset[str], int]:
    texts, stop = options.texts_at(low, start)
    if texts:
        return texts, stop
    # "Yes, ..." and "No, ...": function words count here, where nothing stands before them.
    word = re.compile(r"\w+").match(low, start)
    label = options.folded.get(word.group()) if word and len(word.group()) > 1 else None
    return (frozenset([label]), word.end()) if word and label else (frozenset(), start)


def _is_whole(low: str, stop: int, options: OptionSet) -> bool:
    ends = _AFTER_TEXT.match(low, stop)
    if ends is None:
        return False
    also = _ALSO.match(low, stop)
    return not (also and options.texts_at(low, also.end())[0])


def _separated(text: str, low: str, found: letters.Token, options: OptionSet) -> bool:
    after = _AFTER.match(text, found.end)
    if after is None:
        return False
    if found.wrapped:
        return True
    if not found.as_written and len(found.word) > 1:
        return False
    sep = after["sep"]
    if sep != " " or text.startswith(("(", "["), after.end()):
        # "I, however, ..." and "I - being a model - ..." are pronouns.
        return found.word != "i" or sep.strip()[:1] in (".", ":", ")", "]", "")
    spelled, _ = options.texts_at(low, after.end())
    if not found.is_article:
        return bool(spelled) or _FOLLOWED.match(low, found.end) is not None
    if found.word == "a" and text[found.start] == "A" and _FOLLOWED.match(low, found.end):
        return True
    return found.label in spelled or found.label in beside(low, found.end, options)


def _enumerates(text: str, low: str, first: letters.Token, options: OptionSet) -> bool:
    # A model that repeats all the options has not chosen the first one.
    for match in letters.pattern(options.width).finditer(text, first.end):
        found = letters.token(text, match, options)
        if found is None or found.label == first.label:
            continue
        ends = _ITEM_ENDS.match(low, found.end)
        if ends and found.label in options.texts_at(low, ends.end())[0]:
            return True
    return False
