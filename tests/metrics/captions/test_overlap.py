import csv
import math
import time
from collections import Counter
from functools import lru_cache
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lalm_bench.metrics.captions.cider import CiderD
from lalm_bench.metrics.captions.overlap import bleu, common_subsequence, rouge_l
from lalm_bench.metrics.captions.tokens import tokenise

# Expected numbers of these: pycocoevalcap 1.2 after Stanford's PTBTokenizer 3.4.1.
CAPTIONS = [
    "A dog barks twice while rain falls on a tin roof.",
    "Someone isn't talking; a high-pitched alarm rings at 5 p.m.",
    "Birds",
    "A man's voice (far away) and the U.S. anthem.",
]
REFERENCES = [
    [
        "A dog is barking in the rain.",
        "Rain hits a metal roof while a dog barks two times.",
        "A dog barks, then rain falls.",
    ],
    [
        "An alarm rings and nobody talks.",
        "A shrill, high-pitched alarm rings in an empty room.",
        "An alarm can't be stopped: it's ringing.",
    ],
    ["Birds are singing in a forest.", "Several birds chirp and a stream flows.", "Birds chirp."],
    [
        "A man sings the U.S. anthem in the distance.",
        "A far-away man's voice sings an anthem.",
        "Someone sings on a radio.",
    ],
]

word = st.sampled_from(["a", "dog", "barks", "rain", "on", "roof"])
caption = st.lists(word, max_size=9)
item = st.tuples(caption, st.lists(caption, min_size=1, max_size=4))


def tokens():
    return [tokenise(c) for c in CAPTIONS], [[tokenise(r) for r in own] for own in REFERENCES]


def test_cider_d_of_the_reference_implementation():
    given_, theirs = tokens()
    metric = CiderD(theirs)
    scores = [metric.score(c, r) for c, r in zip(given_, theirs, strict=True)]
    assert scores == pytest.approx([1.72922155, 1.01562166, 1.09615797, 1.24103525], abs=1e-8)
    assert sum(scores) / 4 == pytest.approx(1.2705091065085004, abs=1e-12)


def test_bleu_and_rouge_l_of_the_reference_implementation():
    given_, theirs = tokens()
    found = bleu(zip(given_, theirs, strict=True))
    assert found[:3] == pytest.approx([0.6, 0.43994134506, 0.30238750304], abs=1e-9)
    assert found[3] == 0.0  # no run of four words is shared; the reference smooths by 1e-15
    rouge = [rouge_l(c, r) for c, r in zip(given_, theirs, strict=True)]
    assert rouge == pytest.approx([0.62118126, 0.40734558, 0.62886598, 0.51870748], abs=1e-8)


def test_464_published_captions(shared_data):
    with open(shared_data / "captions" / "example_1.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    given_ = [tokenise(row["caption_predicted"]) for row in rows]
    theirs = [[tokenise(row[f"caption_{i}"]) for i in range(1, 6)] for row in rows]
    metric = CiderD(theirs)
    scores = [metric.score(c, r) for c, r in zip(given_, theirs, strict=True)]
    assert sum(scores) / len(scores) == pytest.approx(0.401723734594817, abs=1e-9)


def test_5000_captions_take_under_five_seconds():
    given_, theirs = (part * 1250 for part in tokens())
    # Lists of their own, as 5000 different captions would have.
    items = [([*mine], [[*r] for r in own]) for mine, own in zip(given_, theirs, strict=True)]
    began = time.process_time()
    CiderD([own for _, own in items]).scores(items)
    assert time.process_time() - began < 5


@given(st.lists(item, min_size=1, max_size=6), st.lists(item, min_size=1, max_size=3))
def test_captions_score_alike_together_and_alone(items, others):
    metric = CiderD([references for _, references in items])
    asked = [*items, *others]  # with words and references that the statistics do not know
    together = metric.scores(asked)
    assert together.tolist() == pytest.approx([metric.score(*one) for one in asked], abs=1e-12)
    assert metric.scores([]).shape == (0,)


def formula(items):
    """CIDEr-D written out as in the paper, every sum in full."""

    def grams(words, n):
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    total = []
    for mine, references in items:
        score = 0.0
        for n in range(1, 5):
            holds = [{g for r in refs for g in grams(r, n)} for _, refs in items]

            def weights(words, n=n, holds=holds):
                return {
                    g: k * math.log(len(items) / max(1, sum(g in h for h in holds)))
                    for g, k in grams(words, n).items()
                }

            c = weights(mine)
            for reference in references:
                r = weights(reference)
                norm = math.hypot(*c.values()) * math.hypot(*r.values())
                apart = sum(grams(mine, 2).values()) - sum(grams(reference, 2).values())
                if norm:
                    dot = sum(min(c.get(g, 0.0), r[g]) * r[g] for g in r)
                    score += dot / norm * math.exp(-(apart**2) / 72) / len(references)
        total.append(10 * score / 4)
    return total


@given(st.lists(item, min_size=2, max_size=6))
def test_cider_d_is_the_formula(items):
    metric = CiderD([references for _, references in items])
    found = [metric.score(mine, references) for mine, references in items]
    assert found == pytest.approx(formula(items), abs=1e-9)
    assert all(0 <= score <= 10 + 1e-9 for score in found)


def test_one_item_weighs_nothing():
    metric = CiderD([[["a", "dog"]]])
    assert metric.items == 1
    assert metric.score(["a", "dog"], [["a", "dog"]]) == 0.0


@given(st.lists(item, min_size=1, max_size=6))
def test_bleu_is_bounded_and_stays_at_zero(items):
    values = bleu(items)
    assert all(0 <= v <= 1 + 1e-12 for v in values)
    assert all(after == 0 for v, after in pairwise(values) if v == 0)


def plain_bleu(items):
    """Modified precision written out as in the paper, and the brevity penalty."""
    matched, possible = [0] * 4, [0] * 4
    for mine, references in items:
        for n in range(4):
            counts = Counter(tuple(mine[i : i + n + 1]) for i in range(len(mine) - n))
            theirs = [
                Counter(tuple(r[i : i + n + 1]) for i in range(len(r) - n)) for r in references
            ]
            matched[n] += sum(min(k, max(c[g] for c in theirs)) for g, k in counts.items())
            possible[n] += sum(counts.values())
    length = sum(len(mine) for mine, _ in items)
    near = sum(min((abs(len(r) - len(m)), len(r)) for r in refs)[1] for m, refs in items)
    brevity = min(1.0, math.exp(1 - near / length)) if length else 0.0
    shares = [m / p if p else 0.0 for m, p in zip(matched, possible, strict=True)]
    return [brevity * math.prod(shares[:n]) ** (1 / n) for n in range(1, 5)]


@given(st.lists(item, min_size=1, max_size=6))
def test_bleu_is_the_formula(items):
    assert bleu(items) == pytest.approx(plain_bleu(items), abs=1e-12)


@given(st.lists(st.lists(word, min_size=4, max_size=9), min_size=1, max_size=5))
def test_a_reference_itself_is_perfect(captions):
    assert bleu([(c, [c, ["x"]]) for c in captions]) == pytest.approx((1.0,) * 4)
    assert all(rouge_l(c, [["x"], c]) == pytest.approx(1.0) for c in captions)


@given(caption, caption)
def test_common_subsequence_is_that_of_the_textbook(one, other):
    @lru_cache
    def longest(i, j):
        if not i or not j:
            return 0
        if one[i - 1] == other[j - 1]:
            return longest(i - 1, j - 1) + 1
        return max(longest(i - 1, j), longest(i, j - 1))

    assert common_subsequence(one, other) == longest(len(one), len(other))


@given(st.permutations(["a", "b", "c", "d", "e"]), st.integers(1, 4))
def test_word_order_matters(shuffled, cut):
    assume(shuffled != sorted(shuffled))
    straight = sorted(shuffled)
    assert rouge_l(shuffled, [straight]) < rouge_l(straight, [straight])
    assert rouge_l(straight[:cut], [straight]) < 1
