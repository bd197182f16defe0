"""Which choice an answer in free words means, and which stage said so."""

import numpy as np
import pytest

from lalm_bench.metrics.closed_match import Match, Remembered, match
from lalm_bench.types import Choice

CHOICES = (Choice("A", "a dog"), Choice("B", "a big dog"), Choice("C", "rain, hail"))


class Counting:
    """A stand-in for an encoder: a vector of letter counts, and how often it was asked."""

    def __init__(self):
        self.calls = 0

    def encode(self, texts):
        self.calls += 1
        counts = np.array([[t.lower().count(chr(c)) for c in range(97, 123)] for t in texts], float)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("a dog", Match("a dog", "exact")),
        ("A DOG.", Match("a dog", "exact")),
        ("(A) a dog", Match("a dog", "exact")),
        ("B. a big dog", Match("a big dog", "exact")),
        ("Rain; hail", Match("rain, hail", "exact")),
        ("I hear hail and rain", Match("rain, hail", "string")),
        ("it was a big old dog", Match("a big dog", "string")),
        ("precipitation", Match(None, None)),
        ("", Match(None, None)),
        ("A", Match(None, None)),
    ],
)
def test_stages_without_an_encoder(answer, expected):
    assert match(answer, CHOICES) == expected


def test_the_encoder_is_asked_only_for_the_rest():
    encoder = Counting()
    assert match("a dog", CHOICES, encoder).stage == "exact"
    assert match("hail, rain", CHOICES, encoder).stage == "string"
    assert match("", CHOICES, encoder) == Match(None, None)
    assert encoder.calls == 0
    assert match("raining", CHOICES, encoder) == Match("rain, hail", "encoder")
    assert encoder.calls == 1


def test_equal_choices_are_one():
    twice = (Choice("A", "ten"), Choice("B", "ten"), Choice("C", "two"))
    assert match("it is ten", twice) == Match("ten", "string")


def test_texts_that_differ_in_signs_only_are_not_settled_by_their_words():
    signs = (Choice("A", "-5 dB"), Choice("B", "5 dB"))
    assert match("-5 dB", signs) == Match(None, None)


def test_a_text_is_encoded_once_and_vectors_stay_the_same():
    encoder, plain = Counting(), Counting()
    remembered = Remembered(encoder)
    remembered.learn(["a dog", "hail", "a dog"])
    assert encoder.calls == 1
    texts = ["hail", "a dog", "hail"]
    assert np.array_equal(remembered.encode(texts), plain.encode(texts))
    remembered.learn(texts)
    assert encoder.calls == 1
    assert np.array_equal(remembered.encode(["new", "hail"]), plain.encode(["new", "hail"]))
    assert encoder.calls == 2


def test_a_full_memory_changes_nothing():
    remembered, plain = Remembered(Counting(), most=3), Counting()
    for texts in (["a", "b"], ["b", "c", "d"], ["d", "a", "b"], ["e", "f", "g", "h"]):
        assert np.array_equal(remembered.encode(texts), plain.encode(texts))
