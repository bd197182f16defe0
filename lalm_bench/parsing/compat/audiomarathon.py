"""AudioMarathon's letter rules as its Qwen2.5-Omni scripts have them.

Reproduced: RACE (stated in full), DESED (`audiomarathon`, the core that SLUE and GTZAN extend),
SLUE, GTZAN and VoxCeleb age. Left out: TAU, VESUS, HAD and VoxCeleb gender, whose keyword and
synonym tables belong to their scripts. Where a rule says "any letter" without an order, the first
in the text is taken. The letters are the item's own labels; AudioMarathon writes A-D, or A-E for
age.

Faults that are kept: letters inside words count ("Metal" is A), and so does the article "A".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from lalm_bench.parsing import Parsed
from lalm_bench.types import Choice

_Hit = tuple[str, str] | None
_Rule = Callable[[str, str], _Hit]


def audiomarathon(text: str, choices: Sequence[Choice]) -> Parsed:
    """DESED: the letter itself, else the first stand-alone letter, else any letter in a word."""
    return _apply(
        text, choices, lambda said, a: _exact(said, a) or _alone(said, a) or _any(said, a)
    )


def audiomarathon_race(text: str, choices: Sequence[Choice]) -> Parsed:
    """RACE: the first character anywhere that is a label, case aside (`any-letter`)."""
    return _apply(text, choices, _any)


def audiomarathon_slue(text: str, choices: Sequence[Choice]) -> Parsed:
    """SLUE: as DESED; an answer of up to three characters may also begin with its letter."""
    return _apply(
        text,
        choices,
        lambda said, a: _exact(said, a) or _short(said, a) or _alone(said, a) or _any(said, a),
    )


def audiomarathon_gtzan(text: str, choices: Sequence[Choice]) -> Parsed:
    """GTZAN: letter, prefix `B.`, suffix ` B`, `option B`, stand-alone, any letter in a word."""
    return _apply(
        text,
        choices,
        lambda said, a: (
            _forms(said, a) or _named(said, a, "OPTION|CHOICE") or _alone(said, a) or _any(said, a)
        ),
    )


def audiomarathon_vox_age(text: str, choices: Sequence[Choice]) -> Parsed:
    """VoxCeleb age: forms of GTZAN, the one stand-alone letter, `answer B`, the one option text."""
    found = _apply(
        text,
        choices,
        lambda said, a: (
            _forms(said, a) or _single(said, a) or _named(said, a, "OPTION|CHOICE|ANSWER")
        ),
    )
    if found.label is not None or found.stage == "empty":
        return found
    low = _tail(text).lower()
    texts = [c.label for c in choices if c.text.strip() and c.text.lower() in low]
    return Parsed(texts[0], "text-match") if len(texts) == 1 else found


def _apply(text: str, choices: Sequence[Choice], rule: _Rule) -> Parsed:
    said = _tail(text).strip().upper()
    if not said:
        return Parsed(None, "empty")
    # The rules know single letters only.
    labels = {c.label.upper(): c.label for c in choices if len(c.label) == 1}
    found = rule(said, re.escape("".join(labels))) if labels else None
    return Parsed(labels[found[0]], found[1]) if found else Parsed(None, "none")


def _tail(text: str) -> str:
    # Decodes still hold the prompt; the answer follows the last turn marker.
    return text.rpartition("assistant\n")[2]


def _hit(pattern: str, said: str, stage: str) -> _Hit:
    match = re.search(pattern, said)
    return (next(group for group in match.groups() if group), stage) if match else None


def _exact(said: str, letters: str) -> _Hit:
    return _hit(rf"^([{letters}])$", said, "exact-label")


def _short(said: str, letters: str) -> _Hit:
    return _hit(rf"^([{letters}]).{{0,2}}$", said, "short-answer")


def _alone(said: str, letters: str) -> _Hit:
    return _hit(rf"\b([{letters}])\b", said, "single-letter")


def _single(said: str, letters: str) -> _Hit:
    found = set(re.findall(rf"\b([{letters}])\b", said))
    return (found.pop(), "single-letter") if len(found) == 1 else None


def _any(said: str, letters: str) -> _Hit:
    return _hit(rf"([{letters}])", said, "any-letter")


def _forms(said: str, letters: str) -> _Hit:
    return (
        _exact(said, letters)
        or _hit(rf"^([{letters}])[.)]", said, "prefix")
        or _hit(rf" ([{letters}])$", said, "suffix")
    )


def _named(said: str, letters: str, nouns: str) -> _Hit:
    return _hit(rf"(?:{nouns}) ([{letters}])|([{letters}])\)", said, "named-letter")
