"""CIDEr-D: agreement of a caption with its references, n-grams weighted by how telling they are.

Vedantam, Zitnick and Parikh (2015), arXiv 1411.5726, section 5 (the D variant: clipped counts, a
penalty on length, times ten).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import numpy as np

_ORDERS = 4
_SIGMA = 6.0
_CHUNK = 1024
# An n-gram is the pair (its first n-1 words as one number, its last word), packed into 64 bits.
_WORD_BITS = 24

Words = Sequence[str]
_Gram = tuple[str, ...]
_Array = np.ndarray[Any, Any]


def ngrams(words: Words, order: int) -> Counter[_Gram]:
    """Counts of the runs of `order` words."""
    return Counter(zip(*[words[i:] for i in range(order)], strict=False))


@dataclass(frozen=True)
class _Known:
    """The n-grams of one order in the references: sorted packed keys, and their weights."""

    keys: _Array
    weights: _Array


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
        numbers: defaultdict[str, int] = defaultdict(count().__next__)
        sizes: list[int] = []
        lengths: list[int] = []
        parts: list[_Array] = []
        for captions in references:
            sizes.append(len(captions))
            lengths += map(len, captions)
            parts.append(np.fromiter(map(numbers.__getitem__, chain(*captions)), np.int64))
        self.items = len(sizes)
        self._numbers: dict[str, int] = dict(numbers)
        # With one item every weight is log 1 = 0.
        self._unseen = float(np.log(self.items)) if self.items else 0.0
        words = np.concatenate([np.zeros(0, np.int64), *parts])
        owner = np.repeat(np.arange(len(lengths)), lengths)
        item = np.repeat(np.arange(self.items), sizes)[owner]
        self._known = []
        for places, _, unique, grams in _orders(words, owner):
            # Each n-gram once an item.
            pairs = np.unique(item[places] * max(len(unique), 1) + grams)
            holding = np.bincount(pairs % max(len(unique), 1), minlength=len(unique))
            self._known.append(_Known(unique, self._unseen - np.log(holding)))

    def score(self, candidate: Words, references: Sequence[Words]) -> float:
        """CIDEr-D of one caption, 0 to 10; see `scores`.

        Examples
        --------
        >>> words = [["a", "dog", "barks", "twice"], ["rain", "falls", "on", "leaves"]]
        >>> metric = CiderD([[w] for w in words])
        >>> [round(metric.score(w, [words[0]]), 6) for w in words]
        [10.0, 0.0]
        """
        return float(self.scores([(candidate, references)])[0])

    def scores(self, items: Sequence[tuple[Words, Sequence[Words]]]) -> _Array:
        """CIDEr-D of each caption, 0 to 10.

        Parameters
        ----------
        items : sequence of (candidate, references)
            Tokenised; at least one reference each.

        Returns
        -------
        array of float, shape (items,)
        """
        parts = [
            self._chunk(items[start : start + _CHUNK]) for start in range(0, len(items), _CHUNK)
        ]
        return np.concatenate([np.zeros(0), *parts])

    def _chunk(self, items: Sequence[tuple[Words, Sequence[Words]]]) -> _Array:
        # One and the same list of words is looked at once.
        places: dict[int, int] = {}
        captions: list[Words] = []
        for caption in chain.from_iterable((given, *theirs) for given, theirs in items):
            if id(caption) not in places:
                places[id(caption)] = len(captions)
                captions.append(caption)
        sizes = [len(theirs) for _, theirs in items]
        given = np.repeat([places[id(caption)] for caption, _ in items], sizes)
        theirs = np.array([places[id(r)] for _, references in items for r in references], np.int64)
        lengths = np.array([*map(len, captions)], np.int64)
        similar = self._cosines(captions, lengths, given, theirs)
        # The published code takes the difference in bigrams, one less than words.
        bigrams = np.maximum(lengths - 1, 0)
        apart = bigrams[given] - bigrams[theirs]
        similar *= np.exp(-(apart**2) / (2 * _SIGMA**2))
        owner = np.repeat(np.arange(len(items)), sizes)
        sums = np.bincount(owner, weights=similar, minlength=len(items))
        means: _Array = 10.0 * sums / _ORDERS / np.array(sizes)
        return means

    def _cosines(
        self, captions: Sequence[Words], lengths: _Array, given: _Array, theirs: _Array
    ) -> _Array:
        """Clipped cosines of pairs of captions, summed over the orders."""
        numbers = _Numbers(self._numbers)
        words = np.fromiter(map(numbers.__getitem__, chain(*captions)), np.int64)
        owner = np.repeat(np.arange(len(captions)), lengths)
        total = np.zeros(len(given))
        beyond = np.zeros(0, np.int64)  # known number of each n-gram of the order before
        for order, (places, before, unique, grams) in enumerate(_orders(words, owner)):
            if not len(unique):
                break
            known = self._known[order]
            if order:
                shorter = np.empty(len(unique), np.int64)
                shorter[grams] = beyond[before]
                packed = (shorter << _WORD_BITS) | (unique & ((1 << _WORD_BITS) - 1))
                packed[shorter < 0] = -1
            else:
                packed = unique
            at = np.searchsorted(known.keys, packed)
            at[at == len(known.keys)] = 0
            there = known.keys[at] == packed if len(known.keys) else np.zeros(len(at), bool)
            beyond = np.where(there, at, -1)
            weights = np.full(len(unique), self._unseen)
            weights[there] = known.weights[at[there]]
            rows, times = np.unique(owner[places] * len(unique) + grams, return_counts=True)
            values = times * weights[rows % len(unique)]
            starts = np.searchsorted(rows, np.arange(len(captions) + 1) * len(unique))
            norms = np.sqrt(
                np.bincount(rows // len(unique), weights=values**2, minlength=len(captions))
            )
            # Each n-gram of each pair's reference, looked for in its candidate.
            many = (starts[1:] - starts[:-1])[theirs]
            pair = np.repeat(np.arange(len(theirs)), many)
            entry = np.arange(len(pair)) + np.repeat(
                starts[theirs] - (np.cumsum(many) - many), many
            )
            wanted = rows[entry] % len(unique) + given[pair] * len(unique)
            found = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
            shared = rows[found] == wanted
            mine, other = values[found[shared]], values[entry[shared]]
            dots = np.bincount(
                pair[shared], weights=np.minimum(mine, other) * other, minlength=len(theirs)
            )
            size = norms[given] * norms[theirs]
            total += np.divide(dots, size, out=np.zeros(len(size)), where=size > 0)
        return total


class _Numbers(dict[str, int]):
    """Numbers of words; a word that no reference has gets the next free one."""

    def __init__(self, known: Mapping[str, int]) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, word: str) -> int:
        number = self._known.get(word)
        if number is None:
            number = len(self._known) + len(self)
        self[word] = number
        return number


def _orders(words: _Array, owner: _Array) -> Iterable[tuple[_Array, _Array, _Array, _Array]]:
    """The n-grams of each order, n = 1 to 4.

    Yields
    ------
    places : array of int
        Where each n-gram begins in `words`; none crosses from one `owner` to the next.
    before : array of int
        Number of its first n-1 words among the unique n-grams of the order before.
    unique : array of int
        Sorted packed keys.
    grams : array of int
        Number of each n-gram among `unique`.
    """
    places = np.arange(len(words))
    before = np.zeros(len(words), np.int64)
    for order in range(_ORDERS):
        if order:
            inside = places + order < len(words)
            inside[inside] = owner[places[inside] + order] == owner[places[inside]]
            places, before = places[inside], before[inside]
        unique, grams = np.unique(
            (before << _WORD_BITS) | words[places + order], return_inverse=True
        )
        yield places, before, unique, grams
        before = grams
