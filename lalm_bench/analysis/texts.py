"""How alike two texts are: by characters, by words, and in the eyes of a sentence encoder."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lalm_bench.errors import DataError
from lalm_bench.metrics.captions.summary import words

# (texts, texts) -> one similarity a pair, shape (pairs,).
Measure = Callable[[Sequence[str], Sequence[str]], np.ndarray]
EDIT, WORDS = "edit", "words"
EXPLAINED = (
    "*edit*: 1 - Levenshtein distance over the longer text's characters, case and white space "
    "aside. *words*: twice the words that both have over the words of both (Dice, repeated words "
    "count; the caption metrics' words). "
)


def folded(text: str) -> str:
    """NFKC, lower case, one blank between words."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def edit(one: str, other: str) -> float:
    """1 - Levenshtein distance / length of the longer text, 0 to 1; two empty texts are alike.

    Examples
    --------
    >>> edit("A dog", "a  dig")
    0.8
    """
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_similarity(folded(one), folded(other)))


def shared_words(one: str, other: str) -> float:
    """Dice coefficient of two bags of words, 0 to 1; two texts without words are alike.

    References
    ----------
    Dice (1945), Ecology 26(3); on multisets.

    Examples
    --------
    >>> round(shared_words("A dog barks.", "a dog, a dog"), 4)
    0.5714
    """
    mine, theirs = words(one), words(other)
    if not mine and not theirs:
        return 1.0
    common = (Counter(mine) & Counter(theirs)).total()
    return 2 * common / (len(mine) + len(theirs))


def measures(encoder: str | None) -> Mapping[str, Measure]:
    """The measures by name; `semantic[<encoder>]` only where an encoder was given.

    Parameters
    ----------
    encoder : str, optional
        Folder in the layout of sentence-transformers, or the name of one in the local Hugging Face
        cache.

    Raises
    ------
    DataError
        There is no such folder, and the cache does not hold it.
    ModelError
        It is no sentence encoder.
    """
    found: dict[str, Measure] = {EDIT: _each(edit), WORDS: _each(shared_words)}
    if encoder is not None:
        from lalm_bench.metrics.captions.encoder import SentenceEncoder

        network = SentenceEncoder(_folder(encoder))

        def semantic(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
            if not first:
                return np.zeros(0)
            vectors = network.encode([*first, *second])
            cosines: np.ndarray = np.einsum(
                "ij,ij->i", vectors[: len(first)], vectors[len(first) :]
            )
            return np.clip(cosines.astype(float), -1.0, 1.0)

        found[f"semantic[{Path(encoder).name}]"] = semantic
    return found


def bounds(name: str) -> tuple[float, float]:
    """Least and greatest value of a measure."""
    return (-1.0, 1.0) if name.startswith("semantic") else (0.0, 1.0)


def _each(measure: Callable[[str, str], float]) -> Measure:
    return lambda first, second: np.array(
        [measure(a, b) for a, b in zip(first, second, strict=True)], dtype=float
    )


def _folder(encoder: str) -> Path:
    if Path(encoder).exists() or encoder.count("/") != 1:
        return Path(encoder)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(encoder, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise DataError(
            f"--encoder {encoder}: no such folder, and not in the local Hugging Face cache; fetch "
            f"it (hf download {encoder}) or name a folder"
        ) from error
