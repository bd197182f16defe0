"""The string match of MMAU, which MMAR shares: sets of words, relative to the right answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lalm_bench.parsing import Parsed
from lalm_bench.types import Choice

_WORD = re.compile(r"\b\w+\b")


def string_match(prediction: str, answer: str, choices: Sequence[str]) -> bool:
    """Whether MMAU's official rule accepts a prediction.

    All words of the answer must occur, and no word that only wrong choices have. Order and
    repetition are lost, so a wrong choice with the answer's words in another order is accepted; a
    letter before the choice is a word like any other and may cause a rejection.

    Parameters
    ----------
    prediction, answer : str
    choices : sequence of str
        Texts of all choices, the answer's included.

    Examples
    --------
    >>> string_match("It is a dog.", "dog", ["dog", "cat"])
    True
    >>> string_match("(A) woman", "woman", ["woman", "a child"])
    False
    """
    said, right = _words(prediction), _words(answer)
    if not said:
        return False
    wrong: set[str] = set()
    for choice in choices:
        words = _words(choice)
        if words != right:
            wrong |= words - right
    return right <= said and not said & wrong


def mmau_string_match(text: str, choices: Sequence[Choice]) -> Parsed:
    """First choice that `string_match` accepts if it is taken for the answer.

    The official rule knows the answer and may accept one text for two choices (words in another
    order). This parser does not, so `string_match` with the answer is the published accuracy and
    this its label form. Stage: `string-match`.
    """
    if not text.strip():
        return Parsed(None, "empty")
    texts = [c.text for c in choices]
    for choice in choices:
        # A choice without a word would be accepted whatever was said.
        if _words(choice.text) and string_match(text, choice.text, texts):
            return Parsed(choice.label, "string-match")
    return Parsed(None, "none")


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))
