"""AudioMarathon's own rules where they are not letter rules, faults included, for comparison.

Of TAU, VESUS, HAD and VoxCeleb gender (Qwen2.5-Omni scripts) all stages are here but the synonym
tables of VESUS and HAD, which belong to their scripts: where those would have fired, the label is
None, so the accuracy here is a lower bound of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lalm_bench.parsing import Parsed
from lalm_bench.types import Choice

_NOTHING = Parsed(None, "none")
_MARKERS = ("spoken content:", "content:", "transcription:", "transcript:")
_TO_SPACE = str.maketrans(dict.fromkeys('.!?,;:"()[]{}', " ") | dict.fromkeys("-'"))


def tau(text: str, choices: Sequence[Choice]) -> Parsed:
    """TAU: letter forms, a whole option text, else two or more of one option's words."""
    said = _tail(text)
    found = _forms(said, choices, ".):")
    if found.label is not None or found.stage == "empty":
        return found
    for choice in choices:
        if choice.text.lower() in said:
            return Parsed(choice.label, "text-match")
    words = set(_words(said))
    shared = [len(words & set(_words(c.text.lower()))) for c in choices]
    best = max(shared, default=0)
    return Parsed(choices[shared.index(best)].label, "keywords") if best > 1 else _NOTHING


def vesus(text: str, choices: Sequence[Choice]) -> Parsed:
    """VESUS: letter forms only (synonyms of emotions are left out)."""
    return _forms(_tail(text), choices, ".):")


def vox_gender(text: str, choices: Sequence[Choice]) -> Parsed:
    """VoxCeleb gender: letter forms, else the one option text that stands in the answer.

    "male" inside "female" is not counted; whether the script counts it is not documented.
    """
    said = _tail(text)
    found = _forms(said, choices, ".):")
    return found if found.label or found.stage == "empty" else _only_text(said, choices)


def had(text: str, choices: Sequence[Choice]) -> Parsed:
    """HAD: as gender, but a letter at the end or between blanks counts: "a fake clip" is real."""
    said = _tail(text)
    found = _forms(said, choices, ".):")
    if found.label or found.stage == "empty":
        return found
    for form, stage in ((" {}$", "suffix"), (" {} ", "any-letter")):
        for choice in choices:
            if re.search(form.format(re.escape(choice.label.lower())), said):
                return Parsed(choice.label, stage)
    return _only_text(said, choices)


def clean_transcript(text: str) -> str:
    """What the script takes for the transcript: between a marker and its next occurrence.

    Examples
    --------
    >>> clean_transcript("Spoken Content: the content: of it")
    ' the content: of it'
    """
    said = _tail(text)
    for marker in _MARKERS:
        if marker in said:
            return said.split(marker)[1]
    return said


def normalise(text: str) -> str:
    """The script's normalisation: marks to blanks, hyphens and apostrophes dropped.

    Examples
    --------
    >>> normalise("Don't, well-known!")
    'dont wellknown'
    """
    return " ".join(text.lower().translate(_TO_SPACE).split())


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word errors per reference word of normalised texts; 1.0 when either is empty."""
    from rapidfuzz.distance import Levenshtein

    right, said = reference.split(), hypothesis.split()
    return Levenshtein.distance(right, said) / len(right) if right and said else 1.0


def _tail(text: str) -> str:
    # Decodes still hold the prompt; the answer follows the last turn marker.
    return text.rpartition("assistant\n")[2].strip().lower()


def _forms(said: str, choices: Sequence[Choice], marks: str) -> Parsed:
    if not said:
        return Parsed(None, "empty")
    for choice in choices:
        label = choice.label.lower()
        if said == label:
            return Parsed(choice.label, "exact-label")
        if said.startswith(tuple(label + mark for mark in marks)):
            return Parsed(choice.label, "prefix")
    for choice in choices:
        label = re.escape(choice.label.lower())
        if re.search(rf"\b(?:option|choice) {label}\b|\b{label}\)", said):
            return Parsed(choice.label, "named-letter")
    return _NOTHING


def _only_text(said: str, choices: Sequence[Choice]) -> Parsed:
    found = [c.label for c in choices if re.search(rf"\b{re.escape(c.text.lower())}\b", said)]
    return Parsed(found[0], "text-match") if len(found) == 1 else _NOTHING


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text)
