"""Sentences that announce an answer: "the answer is (b)", "I choose B", "C is correct"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lalm_bench.parsing import letters
from lalm_bench.parsing.language import CONCLUDING, denied, sentence_start
from lalm_bench.parsing.options import OptionSet

_FILL = (
    r"actually|also|answer|as|audio|be|best|both|choice|clearly|clip|could|correct|definitely|"
    r"describes|either|final|fits|follows|given|here|indeed|is|it|label|letter|likely|match|"
    r"matches|may|me|might|most|must|my|number|of|only|option|probably|question|recording|right|"
    r"should|simply|that|the|then|therefore|this|thus|to|was|will|would|['’]s"
)
_CUE = re.compile(
    r"\b(?:(?P<noun>answer|conclusion|selection|solution|label|response|prediction|verdict|"
    r"(?:correct|right|best|final) one)|(?P<option>option|choice)|"
    r"(?P<verb>choose|chose|choosing|select|selected|selecting|pick|picked|picking|"
    r"opt(?:ed|ing)? for|(?:go|going|went) with|settled? on|voted? for|think|believe|guess|say)|"
    r"(?P<short>(?:so|thus|hence|therefore|conclusion|overall|finally)(?!\w)|it is|it['’]s|"
    r"must be))"
    rf"(?P<fill>(?:[\s:=,*_\"“(\[>-]{{0,4}}(?<!\w)(?:{_FILL})(?!\w)|['’]s\b){{0,8}})"
    r"(?P<gap>[\s:=,*_\"'“‘`(\[{<>$#–—-]{0,12}(?:\.\.\.|…)?[\s]{0,3})"
)
_LINK = re.compile(r"\b(?:is|be|was)\b|['’]s\b|[:=>–—]")
_ANSWER = re.compile(r"\b(?:answer|option|choice|correct|best)\b")
_OPTION = re.compile(r"\b(?:option|choice)[ (\[\"'“‘*_`]*$")
_LAST_WORD = re.compile(r"[0-9A-Za-z]+$")
_ARTICLE = re.compile(r"(?:an?|the) ")
_WORD = re.compile(r"[^\s.,:;!?\"'“”‘’*`()]{1,40}")
_QUOTES = frozenset("\"'“”‘’`*")
_WORD_START = re.compile(r"(?<!\w)\w")
_TEXT_LIST = re.compile(r"[\"'”’]?(?:,? (?:and/or|and|or) |\s?[,/&] ?)[\"'“‘]?")
_JOINED = re.compile(
    r"(?P<before>\w+)[)\]}*\"'”’]{0,3},? ?(?:and |nor |or |[/&] ?)(?:option )?[(\[\"'“‘*_`]{0,3}$"
)
_VERDICT = re.compile(
    r"[)\]}*_\"'”’`]{0,4} (?:is|was|seems|appears|looks|would be|must be|should be|being) "
    r"(?:to be )?(?:(?:the|my|a|clearly|definitely|only|probably|therefore|thus|also) ){0,3}"
    r"(?:correct|right|answer|best|accurate|appropriate|suitable|true|"
    r"most (?:likely|accurate|appropriate|plausible|suitable|probable))\b"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One announced answer.

    Parameters
    ----------
    at : int
        Position of the cue.
    labels : frozenset of str
        More than one when the answer is "A or B".
    end : int
        Where the label or the option text ends.
    strong : bool
        Announced as the answer, not merely named as "option B".
    by_text : bool
        Announced by its text, so that no label stands beside it.
    """

    at: int
    labels: frozenset[str]
    end: int
    strong: bool
    by_text: bool = False


def approved(low: str, end: int) -> bool:
    """Whether "is correct" or the like follows a place."""
    return _VERDICT.match(low, end) is not None


def find(text: str, low: str, options: OptionSet) -> list[Statement]:
    """All announced answers that are not denied, in the order of the text.

    Parameters
    ----------
    text, low : str
        The answer and its folded form, of equal length.
    """
    found = [s for cue in _CUE.finditer(low) if (s := _announced(cue, text, low, options))]
    for verdict in _VERDICT.finditer(low):
        named = _ending_at(verdict.start(), text, options)
        if named is None:
            continue
        joined = _JOINED.search(low, max(0, named.start - 24), named.start)
        if joined and joined["before"] in options.keys:
            continue
        if letters.names_other(text, named) or denied(low, named.start, named.end):
            continue
        if letters.stated(text, named, noun=True):
            found.append(Statement(named.start, frozenset([named.label]), named.end, True))
    return sorted(found, key=lambda s: s.end)


def _announced(cue: re.Match[str], text: str, low: str, options: OptionSet) -> Statement | None:
    at, fill = cue.start(), cue["fill"]
    linked = _LINK.search(fill + cue["gap"]) is not None
    named = _label(cue, text, low, options)
    spelled, start, stop = _spelled(cue, low, options)
    if not spelled and named is None:
        spelled, start, stop = _single_word(cue.end(), low, options)
        last = _LAST_WORD.search(low, cue.start("fill"), cue.end("fill"))
        if not spelled and last:
            spelled, start, stop = _single_word(last.start(), low, options)
    # "A starts before B" may be an option: its text then covers what looks like a label.
    wider = named is None or (start <= named.start and stop >= named.end)
    if spelled and wider and (named is None or stop - start > len(named.word)):
        firm = linked or cue["verb"] not in (None, "think", "believe", "guess", "say")
        if cue["short"] is not None:
            firm = cue["short"] == "must be" or (linked and not cue["short"].startswith("it"))
        if not firm or denied(low, at, stop):
            return None
        return Statement(at, spelled, stop, True, by_text=True)
    if named is None or denied(low, at, named.end):
        return None
    strong = cue["option"] is None or linked
    if not strong:
        strong = CONCLUDING.search(low, max(sentence_start(low, at), at - 120), at) is not None
    return Statement(at, letters.listed(text, named, options), named.end, strong)


def _label(cue: re.Match[str], text: str, low: str, options: OptionSet) -> letters.Token | None:
    match = letters.pattern(options.width).match(text, cue.end())
    named = letters.token(text, match, options) if match else None
    if named is None:
        # A filling word may be a label itself: "the answer is IS."
        word = _LAST_WORD.search(text, cue.start("fill"), cue.end("fill"))
        match = letters.pattern(options.width).match(text, word.start()) if word else None
        named = letters.token(text, match, options) if match else None
        return named if named and named.as_written and letters.closes(text, named.end) else None
    if cue["short"] is not None and not _ANSWER.search(cue["fill"]):
        return named if named.wrapped or letters.closes(text, named.end) else None
    noun = _OPTION.search(low, cue.start(), cue.end()) is not None
    return named if letters.stated(text, named, noun) else None


def _spelled(cue: re.Match[str], low: str, options: OptionSet) -> tuple[frozenset[str], int, int]:
    # An option text may begin with a filling word ("right", "the dog").
    words = _WORD_START.finditer(low, cue.start("fill"), cue.end())
    article = _ARTICLE.match(low, cue.end())
    after = [cue.end(), *([article.end()] if article else [])]
    for start in (*[w.start() for w in words], *after):
        labels, end = options.texts_at(low, start)
        if labels:
            all_labels, stop = set(labels), end
            while joint := _TEXT_LIST.match(low, stop):
                more, stop = options.texts_at(low, joint.end())
                if not more:
                    break
                all_labels |= more
            return frozenset(all_labels), start, max(end, stop)
    return frozenset(), cue.end(), cue.end()


def _single_word(start: int, low: str, options: OptionSet) -> tuple[frozenset[str], int, int]:
    # "Yes", "no" and letters that are no label are option texts only if nothing follows them.
    word = _WORD.match(low, start)
    label = options.folded.get(word.group()) if word else None
    if word is None or label is None:
        return frozenset(), start, start
    quoted = start > 0 and low[start - 1] in _QUOTES and low[word.end() :][:1] in _QUOTES
    if not quoted and not letters.closes(low, word.end()):
        return frozenset(), start, start
    return frozenset([label]), start, word.end()


def _ending_at(end: int, text: str, options: OptionSet) -> letters.Token | None:
    for start in range(max(0, end - options.width), end):
        match = letters.pattern(options.width).match(text, start)
        if match and match.end() == end:
            return letters.token(text, match, options)
    return None
