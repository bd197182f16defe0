"""Word error rate of transcripts: English normalised as Whisper's evaluation does, edits pooled.

The normalising rules are those of Whisper as transformers ships them; the spelling table is ours
(`metrics.spelling`). Two systems' rates compare only under one normaliser, so `NORMALISER` names
it for the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lalm_bench.metrics.whisper_words import whisper_words

NORMALISER = "whisper-style (transformers rules, own spelling table)"


def normalise(text: str) -> str:
    """Lower case, digits, contractions in full, US spelling; no punctuation and no fillers.

    What stands in brackets or parentheses is not speech and goes; so do `um`, `uh` and the like.

    Examples
    --------
    >>> normalise("Um, it's TWENTY-ONE colours (laughs).")
    'it is 21 colors'
    """
    return " ".join(whisper_words(text))


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Edits that turn a transcript into its reference; `words` counts the reference."""

    substitutions: int
    deletions: int
    insertions: int
    words: int

    @property
    def edits(self) -> int:
        """All three kinds together."""
        return self.substitutions + self.deletions + self.insertions


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Fewest word edits between two texts, compared as they are (see `normalise`).

    Examples
    --------
    >>> word_errors("a b c", "a x c d")
    WordErrors(substitutions=1, deletions=0, insertions=1, words=3)
    """
    return edits(reference.split(), hypothesis.split())


def edits(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """`word_errors` of texts that are split already.

    Of several alignments with the fewest edits, the one that jiwer counts.
    """
    from rapidfuzz.distance import Levenshtein

    found = Levenshtein.editops(reference, hypothesis)
    missing = len(reference) - len(hypothesis)
    # Deletions less insertions are what the lengths differ by.
    insertions = [tag for tag, _, _ in found.as_list()].count("insert")
    deletions = insertions + missing
    return WordErrors(len(found) - insertions - deletions, deletions, insertions, len(reference))


def corpus_wer(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Edits of all transcripts divided by the words of all references.

    Parameters
    ----------
    references, hypotheses : sequence of str, shape (utterances,)
        Compared as they are: pass both through `normalise` first. An empty hypothesis counts as
        so many deletions; nothing is left out.

    Returns
    -------
    float
        0 for no error; above 1 when a model talks more than was said.

    Raises
    ------
    ValueError
        The lengths differ, or no reference has a word.

    Examples
    --------
    >>> corpus_wer(["a b c", "d"], ["a b", "d"])
    0.25
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references but {len(hypotheses)} hypotheses")
    found = [word_errors(r, h) for r, h in zip(references, hypotheses, strict=True)]
    words = sum([f.words for f in found])
    if not words:
        raise ValueError("no reference has a word: the error rate is not defined")
    return sum([f.edits for f in found]) / words
