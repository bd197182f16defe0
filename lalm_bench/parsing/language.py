"""English around a candidate answer: negation, refusal, conclusion."""

from __future__ import annotations

import re

_REACH = 90
_BREAK = re.compile(r"[,;:.!?\n]|\b(?:but|so|thus|hence|therefore|then|however|yet|and|because)\b")
_NEGATION = re.compile(
    r"\b(?:not(?! only)|no(?! doubt| question)|never|neither|nor|cannot|without|unlike|whether|if|"
    r"rather than|instead of|other than|rul(?:es?|ed|ing) out|exclud(?:es?|ed|ing)|"
    r"eliminat(?:es?|ed|ing))\b|n['’]t\b"
)
_DENIAL = re.compile(
    r"[\"'”’*)\]]{0,4}\s*(?:(?:is|are|was|were|does|do|did|can|could|would|has|have|must|should|"
    r"will|seems?|appears?)(?:n['’]t\b|(?: to be| also| clearly| definitely| likely)? "
    r"(?:not|never|incorrect|wrong|unlikely|less|least|absent|excluded|eliminated|ruled|"
    r"be (?:excluded|eliminated|ruled|incorrect|wrong))\b)|can(?:not|['’]t)\b)"
)
_TASK = r"(?:determine|answer|identify|tell|listen|access|process|provide|assist|help|conclude|"
_TASK += r"infer|decide|verify|analy[sz]e|play|choose|select)d?\b|hear(?: (?:the|any|an?|your))?"
_TASK += r" (?:audio|sound|recording|clip|anything)|hear(?:d)?\s*(?:[.,;]|$)"
_REFUSAL = re.compile(
    r"\bnone of (?:the|these|those) (?:\w+ ){0,2}(?:above|options|choices|answers|statements)\b"
    r"|\bnone of (?:these|those|them)\b|\bno (?:option|choice|answer)\b"
    r"|\bneither (?:of the )?(?:option|choice|answer)s?\b|\bsorry, (?:but )?i\b"
    r"|\bi(?: am|['’]m) sorry\b|\bapologi[sz]e\b|\bas an ai\b"
    r"|\b(?:cannot|can not|can['’]t|couldn['’]t|could not|unable to|not able to) "
    rf"(?:be )?(?:\w+ly )?(?:{_TASK})"
    r"|(?:\bnot|n['’]t) (?:possible|enough information|sufficient)\b|\bimpossible to\b"
    r"|\b(?:audio|recording|clip|sound|file)s? (?:file |clip )?(?:is|was|has|were)(?: not|n['’]t) "
    r"(?:been )?(?:provided|available|attached|included|audible|given|accessible|present)\b"
    r"|\bno (?:audio|recording|sound file)\b"
    r"|\b(?:do not|don['’]t) have (?:access|the ability|enough|any)\b"
    r"|\binsufficient\b|\bno (?:information|context)\b"
)
# A refusal holds one of these; most answers do not, and looking for a substring costs nothing.
_REFUSAL_HINTS = (
    "not", "n't", "n’t", "no", "sorry", "unable", "impossible", "insufficient",
    "apolog", "as an ai", "neither",
)  # fmt: skip
CONCLUDING = re.compile(r"\b(?:so|thus|hence|therefore|conclusion|overall|finally|must be)\b")


def clause_before(low: str, at: int) -> str:
    """What stands before a place in its own clause (folded text)."""
    window = low[max(0, at - _REACH) : at]
    breaks = [stop.end() for stop in _BREAK.finditer(window)]
    return window[breaks[-1] if breaks else 0 :]


def denied(low: str, start: int, end: int) -> bool:
    """Whether `low[start:end]` is named only to be ruled out or left open."""
    return bool(_NEGATION.search(clause_before(low, start)) or _DENIAL.match(low, end))


def sentence_start(low: str, at: int) -> int:
    """Where the sentence around a place begins."""
    return max([low.rfind(stop, 0, at) + 1 for stop in (". ", "! ", "? ", "\n")])


def refused(low: str, covered: bytearray) -> bool:
    """Whether the text declines to answer.

    Parameters
    ----------
    low : str
        Folded text.
    covered : bytearray
        1 where an option's own text stands: "cannot be determined" may be an option.
    """
    if not any(hint in low for hint in _REFUSAL_HINTS):
        return False
    return any(covered.find(0, match.start(), match.end()) >= 0 for match in _REFUSAL.finditer(low))
