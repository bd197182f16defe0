"""Instruction following: 27 rules that an answer keeps or breaks, as MMAU-Pro names them.

Each is a pure function of the text. Words are runs of letters and digits, sentences are split by
rule and not by a trained model. Keywords, prompts and phrases are compared without regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|cf|fig|no|approx|jr|sr)|\b[a-z])\.$",
    re.IGNORECASE,
)

Arguments = Mapping[str, Any]
Rule = Callable[[str, Arguments], bool]


@dataclass(frozen=True, slots=True)
class Instruction:
    """A rule and the arguments it cannot do without."""

    name: str
    needs: tuple[str, ...]
    holds: Rule


def find(name: str) -> Instruction | None:
    """The instruction of that name, whatever its case, blanks and brackets; None when unknown.

    Examples
    --------
    >>> find("Number Words (at least)").needs
    ('N',)
    """
    return _BY_NAME.get(_bare(name))


def lacking(instruction: Instruction, arguments: Arguments) -> list[str]:
    """Needed arguments that are absent, null, or no whole number where one is needed."""
    return [
        name
        for name in instruction.needs
        if arguments.get(name) is None
        or (name in ("N", "N1", "N2") and _number(arguments, name) is None)
        or (isinstance(arguments[name], str) and not arguments[name].strip())
    ]


def followed(instruction: Instruction, text: str, arguments: Arguments) -> bool:
    r"""Whether an answer keeps the rule; an empty answer keeps none.

    Parameters
    ----------
    instruction : Instruction
    text : str
    arguments : mapping
        `keywords`, `keyword`, `forbidden_words`, `N`, `N1`, `N2`, `postscript_marker`,
        `section_splitter`, `start_phrase`, `end_phrase`, `question`: those that `needs` names.

    Examples
    --------
    >>> followed(find("No Commas"), "All quiet.", {})
    True
    >>> followed(find("Number Bullets"), "* one\n* two", {"N": 3})
    False
    """
    return bool(text.strip()) and instruction.holds(text, arguments)


def words(text: str) -> list[str]:
    """Words; "don't" and "high-pitched" are one each."""
    return _WORD.findall(text)


def sentences(text: str) -> list[str]:
    """Sentences, split after ``. ! ?`` before white space, abbreviations and initials aside.

    Examples
    --------
    >>> sentences("Dr. Ma plays, e.g. Bach. Loud? Yes!")
    ['Dr. Ma plays, e.g. Bach.', 'Loud?', 'Yes!']
    """
    found, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        if not _ABBREVIATION.search(text[start : match.end()]) or match.end() == len(text.rstrip()):
            found.append(text[start : match.end()].strip())
            start = match.end()
    return [part for part in [*found, text[start:].strip()] if words(part)]


def _bare(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _number(arguments: Arguments, name: str) -> int | None:
    try:
        number = float(arguments[name])
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _n(arguments: Arguments, name: str = "N") -> int:
    number = _number(arguments, name)
    if number is None:
        raise ValueError(f"{name}={arguments.get(name)!r} is no whole number")
    return number


def _listed(value: Any) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value
    return [word for word in (str(part).strip().lower() for part in parts) if word]


def _letters(text: str) -> str:
    return " ".join(re.sub(r"[^a-z\s]", "", text.lower()).split())


def _parts(text: str, splitter: str) -> list[str]:
    return [part.strip() for part in text.split(splitter) if part.strip()]


def _keyword_frequency(text: str, a: Arguments) -> bool:
    keyword = re.escape(str(a["keyword"]).strip())
    found = re.findall(rf"(?<!\w){keyword}(?!\w)", text, re.IGNORECASE)
    return len(found) == _n(a)


def _postscript(text: str, a: Arguments) -> bool:
    # Case is kept: without it the letters of "P.S." stand in every "perhaps".
    return re.sub(r"[^A-Za-z]", "", a["postscript_marker"]) in re.sub(r"[^A-Za-z]", "", text)


def _repeats(text: str, a: Arguments) -> bool:
    plain = " ".join(text.lower().split())
    return plain.startswith(" ".join(str(a["question"]).lower().split()))


def _two_responses(text: str, a: Arguments) -> bool:
    parts = [part.strip() for part in text.split("******")]
    return len(parts) == 2 and all(parts) and parts[0] != parts[1]


def _capitals(text: str) -> int:
    return sum(word.isupper() for word in words(text))


def _counted(name: str, count: Callable[[str], int]) -> list[Instruction]:
    """The forms "at least N", "at most N" and "N1 to N2" of a count."""
    return [
        Instruction(f"{name} at least", ("N",), lambda t, a: count(t) >= _n(a)),
        Instruction(f"{name} at most", ("N",), lambda t, a: count(t) <= _n(a)),
        Instruction(
            f"{name} range", ("N1", "N2"), lambda t, a: _n(a, "N1") <= count(t) <= _n(a, "N2")
        ),
    ]


INSTRUCTIONS = (
    Instruction(
        "Include Keywords",
        ("keywords",),
        lambda t, a: all(word in t.lower() for word in _listed(a["keywords"])),
    ),
    Instruction("Keyword Frequency", ("keyword", "N"), _keyword_frequency),
    Instruction(
        # An empty list forbids nothing.
        "Forbidden Words",
        (),
        lambda t, a: not any(w in t.lower() for w in _listed(a.get("forbidden_words") or ())),
    ),
    Instruction("Number Paragraphs", ("N",), lambda t, a: len(_parts(t, "***")) == _n(a)),
    *_counted("Number Words", lambda text: len(words(text))),
    *_counted("Number Sentences", lambda text: len(sentences(text))),
    Instruction("Postscript", ("postscript_marker",), _postscript),
    Instruction(
        "Number Placeholder", ("N",), lambda t, a: len(re.findall(r"\[[^\[\]]+\]", t)) >= _n(a)
    ),
    Instruction(
        "Number Bullets",
        ("N",),
        lambda t, a: sum(line.lstrip().startswith("* ") for line in t.splitlines()) == _n(a),
    ),
    Instruction("Title", (), lambda t, a: bool(re.search(r"<<[^\n<>]*[^\s<>][^\n<>]*>>", t))),
    Instruction(
        "Minimum Number Highlighted Section",
        ("N",),
        lambda t, a: len(re.findall(r"\*[^\n*]*[^\s*][^\n*]*\*", t)) >= _n(a),
    ),
    Instruction(
        "Multiple Sections",
        ("section_splitter", "N"),
        lambda t, a: len(_parts(t, a["section_splitter"])) == _n(a),
    ),
    Instruction("Repeat Prompt", ("question",), _repeats),
    Instruction("Two Responses", (), _two_responses),
    Instruction("All Uppercase", (), lambda t, a: t.isupper()),
    Instruction("All Lowercase", (), lambda t, a: t.islower()),
    *_counted("All-capital Words", _capitals),
    Instruction(
        "Start Checker",
        ("start_phrase",),
        lambda t, a: _letters(t).startswith(_letters(a["start_phrase"])),
    ),
    Instruction(
        "End Checker",
        ("end_phrase",),
        lambda t, a: _letters(t).endswith(_letters(a["end_phrase"])),
    ),
    Instruction(
        "Quotation",
        (),
        lambda t, a: len(t.strip()) > 1 and t.strip()[0] == t.strip()[-1] == '"',
    ),
    Instruction("No Commas", (), lambda t, a: "," not in t),
)
_BY_NAME = {_bare(instruction.name): instruction for instruction in INSTRUCTIONS}
