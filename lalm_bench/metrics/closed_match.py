"""Which choice an answer in free words means: the same text, its words, or the nearest in meaning.

MMAU-Pro compares answers and choices by an encoder (NV-Embed-v2) alone. Here what can be settled
without one is, and an encoder given by path, called by its own name, settles the rest: its number
is not the published one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lalm_bench.parsing.compat.mmau import string_match
from lalm_bench.types import Choice

STAGES = ("exact", "string", "encoder")
_WORD = re.compile(r"\w+")


class Encoder(Protocol):
    """Texts to unit vectors."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, shape (texts, dimensions)."""


class Remembered:
    """An encoder whose vectors are kept, so that a text is encoded once and many at a time.

    Parameters
    ----------
    encoder : Encoder
    most : int
        Vectors kept; when they are reached, all are dropped.
    """

    def __init__(self, encoder: Encoder, most: int = 1 << 16) -> None:
        self._encoder = encoder
        self._most = most
        self._vectors: dict[str, np.ndarray] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Encode what is new among the texts, in one call."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if not new:
            return
        if len(self._vectors) + len(new) > self._most:
            self._vectors.clear()
        self._vectors.update(zip(new, self._encoder.encode(new), strict=True))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, shape (texts, dimensions)."""
        if any(text not in self._vectors for text in texts):
            # Making room for new ones may drop known ones.
            known = {text: self._vectors[text] for text in texts if text in self._vectors}
            self.learn(texts)
            self._vectors.update(known)
        return np.stack([self._vectors[text] for text in texts])


@dataclass(frozen=True, slots=True)
class Match:
    """The text of the matched choice and the stage that settled it; None for both when open."""

    text: str | None
    stage: str | None


def match(answer: str, choices: Sequence[Choice], encoder: Encoder | None = None) -> Match:
    """The choice that an answer means.

    Parameters
    ----------
    answer : str
        The whole output.
    choices : sequence of Choice
    encoder : Encoder, optional
        For what the first two stages leave open.

    Returns
    -------
    Match
        `exact`: the answer is one choice's text, its label before it or not. `string`: MMAU's
        string match accepts exactly one choice. `encoder`: the choice of the largest cosine.

    Examples
    --------
    >>> choices = [Choice("A", "a dog"), Choice("B", "a cat")]
    >>> match("(B) A cat.", choices).stage, match("It was a dog", choices).stage
    ('exact', 'string')
    >>> match("something that barks", choices).stage is None
    True
    """
    said = _words(answer)
    if not said:
        return Match(None, None)
    texts = {choice.text: _words(choice.text) for choice in choices}
    exact = {c.text for c in choices if said in (texts[c.text], [c.label.lower(), *texts[c.text]])}
    if len(exact) == 1:
        return Match(exact.pop(), "exact")
    heard = {*said}
    found = [
        text
        for text, words in texts.items()
        if heard.issuperset(words) and string_match(answer, text, [*texts])
    ]
    if len(found) == 1:
        return Match(found[0], "string")
    if encoder is None:
        return Match(None, None)
    vectors = encoder.encode([answer, *texts])
    return Match([*texts][int(np.argmax(vectors[1:] @ vectors[0]))], "encoder")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
