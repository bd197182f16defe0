"""CIDEr-D: agreement of a caption with its references, n-grams weighted by how telling they are.

Vedantam, Zitnick and Parikh (2015), arXiv 1411.5726, section 5 (the D variant: clipped counts, a
penalty on length, times ten).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

_ORDERS = 4
_SIGMA = 6.0

Words = Sequence[str]
_Gram = tuple[str, ...]


def ngrams(words: Words, order: int) -> Counter[_Gram]:
    """Counts of the runs of `order` words."""
    return Counter(zip(*[words[i:] for i in range(order)], strict=False))


class CiderD:
    """Scores captions under the n-gram statistics of one set of references.

    An n-gram's weight falls with the number of items in whose references it stands. Those numbers
    come from the references alone, so they are fixed before the first answer, and a caption's
    score does not change with the other captions.

    Parameters
    ----------
    references : iterable of (sequence of (sequence of str))
        One entry an item: its references, tokenised.
    """

    def __init__(self, references: Iterable[Sequence[Words]]) -> None:
        found: Counter[_Gram] = Counter()
        self.items = 0
        for captions in references:
            self.items += 1
            found.update({g for c in captions for n in range(_ORDERS) for g in ngrams(c, n + 1)})
        # With one item every weight is log 1 = 0.
        self._unseen = math.log(self.items) if self.items else 0.0
        self._weight = {gram: self._unseen - math.log(count) for gram, count in found.items()}

    def score(self, candidate: Words, references: Sequence[Words]) -> float:
        """CIDEr-D of one caption, 0 to 10.

        Parameters
        ----------
        candidate : sequence of str
        references : sequence of (sequence of str)
            At least one.

        Examples
        --------
        >>> words = [["a", "dog", "barks", "twice"], ["rain", "falls", "on", "leaves"]]
        >>> metric = CiderD([[w] for w in words])
        >>> [round(metric.score(w, [words[0]]), 6) for w in words]
        [10.0, 0.0]
        """
        given = self._vectors(candidate)
        length = max(len(candidate) - 1, 0)
        total = 0.0
        for reference in references:
            cosines = 0.0
            for (mine, my_norm), (theirs, their_norm) in zip(
                given, self._vectors(reference), strict=True
            ):
                if my_norm and their_norm:
                    dot = 0.0
                    for gram in mine.keys() & theirs.keys():
                        weight = theirs[gram]
                        dot += min(mine[gram], weight) * weight
                    cosines += dot / (my_norm * their_norm)
            # The published code takes the difference in bigrams, one less than words.
            apart = length - max(len(reference) - 1, 0)
            total += cosines * math.exp(-(apart**2) / (2 * _SIGMA**2))
        return 10.0 * total / _ORDERS / len(references)

    def _vectors(self, words: Words) -> list[tuple[dict[_Gram, float], float]]:
        vectors = []
        known, unseen = self._weight.get, self._unseen
        for n in range(1, _ORDERS + 1):
            vector = {g: count * known(g, unseen) for g, count in ngrams(words, n).items()}
            vectors.append((vector, math.hypot(*vector.values())))
        return vectors
