"""BLEU and ROUGE-L of captions with several references, as COCO captioning defines them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from lalm_bench.metrics.captions.cider import Words

_ORDERS = 4
_BETA = 1.2


def bleu(pairs: Iterable[tuple[Words, Sequence[Words]]]) -> tuple[float, ...]:
    """BLEU-1 to BLEU-4 of a corpus, without smoothing.

    Parameters
    ----------
    pairs : iterable of (candidate, references)
        Tokenised. The reference nearest in length counts for the brevity penalty, the shorter one
        on a tie.

    Returns
    -------
    tuple of float
        0 to 1, one an order; all 0 when there is no candidate word.

    References
    ----------
    Papineni et al. (2002), ACL, sections 2.2 and 2.3.

    Examples
    --------
    >>> [round(b, 3) for b in bleu([(["a", "dog", "barks"], [["a", "dog", "howls"]])])]
    [0.667, 0.577, 0.0, 0.0]
    """
    matched, possible = [0] * _ORDERS, [0] * _ORDERS
    length = closest = 0
    for candidate, references in pairs:
        length += len(candidate)
        closest += min([(abs(len(r) - len(candidate)), len(r)) for r in references])[1]
        shared = True
        for n in range(min(_ORDERS, len(candidate))):
            possible[n] += len(candidate) - n
            if not shared:  # no run of n words is shared without its first n-1
                continue
            given = [*_runs(candidate, n + 1)]
            theirs = [[*_runs(r, n + 1)] for r in references]
            hits = len(set(given).intersection(chain(*theirs)))
            shared = hits > 0
            matched[n] += hits
            if shared and len(set(given)) < len(given):
                # One match is counted already; more of them as far as one reference has them.
                for gram, times in Counter(given).items():
                    if times > 1:
                        most = max([own.count(gram) for own in theirs])
                        matched[n] += max(min(times, most) - 1, 0)
    if not length:
        return (0.0,) * _ORDERS
    brevity = min(1.0, math.exp(1 - closest / length))
    values, product = [], 1.0
    for n in range(_ORDERS):
        product *= matched[n] / possible[n] if possible[n] else 0.0
        values.append(brevity * product ** (1 / (n + 1)))
    return tuple(values)


def _runs(words: Words, order: int) -> Iterator[tuple[str, ...]]:
    return zip(*[words[i:] for i in range(order)], strict=False)


def rouge_l(candidate: Words, references: Sequence[Words]) -> float:
    """ROUGE-L of one caption, 0 to 1: F-score of the longest common subsequence.

    Best precision and best recall over the references are taken each on its own; recall weighs
    1.2 times, as in COCO captioning.

    References
    ----------
    Lin (2004), Text Summarization Branches Out, section 3.

    Examples
    --------
    >>> round(rouge_l(["a", "dog", "barks"], [["a", "big", "dog", "barks"]]), 4)
    0.8356
    """
    if not candidate:
        return 0.0
    common = [common_subsequence(candidate, r) for r in references]
    precision = max(common) / len(candidate)
    recall = max([c / len(r) if r else 0.0 for c, r in zip(common, references, strict=True)])
    if not precision or not recall:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def common_subsequence(one: Words, other: Words) -> int:
    """Length of the longest common subsequence of two word sequences.

    Bit-parallel: bit i of the state is 0 where the best match of `one` up to word i grew.

    References
    ----------
    Hyyro (2004), AWOCA, "Bit-parallel LCS-length computation revisited".
    """
    places: dict[str, int] = {}
    for i, word in enumerate(one):
        places[word] = places.get(word, 0) | (1 << i)
    full = (1 << len(one)) - 1
    state = full
    for word in other:
        hit = state & places.get(word, 0)
        state = ((state + hit) | (state - hit)) & full
    return len(one) - state.bit_count()
