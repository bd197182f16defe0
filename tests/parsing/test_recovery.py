"""Second readings: both rules of the faithfulness study, and when they are asked."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.errors import ConfigError
from lalm_bench.parsing import Parsed, compat
from lalm_bench.parsing.recovery import Recovery
from lalm_bench.parsing.recovery_rules import (
    _STOP_WORDS,
    _STOP_WORDS_CONDITIONED,
    _SUFFIXES,
    RULES,
    _stem,
)
from lalm_bench.types import Choice


def options(*texts):
    return tuple(Choice(label, text) for label, text in zip("abcdefgh", texts, strict=False))


ANIMALS = options("dog barking", "cat", "rooster", "a cow mooing")
MOODS = options("happiness", "sadness", "angry", "fear")


def read(rule, text, choices=ANIMALS, guard=False):
    found = RULES[rule](text, choices, guard=guard)
    return found.label, found.stage


def test_the_lists_have_their_published_length():
    assert len(_SUFFIXES) == len(set(_SUFFIXES)) == 21
    assert len(_STOP_WORDS) == 32
    assert {"you", "he", "she", "we"} == _STOP_WORDS - _STOP_WORDS_CONDITIONED
    lengths = [len(suffix) for suffix in _SUFFIXES]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("cat", "cat"),  # no longer than three letters
        ("happiness", "happi"),
        ("sadness", "sad"),
        ("barking", "bark"),
        ("barks", "bark"),
        ("misses", "miss"),  # the longest suffix, once
        ("carelessness", "carele"),  # still over seven letters: cut to six
        ("elephant", "elepha"),
        ("percussion", "percus"),
        ("lovely", "love"),
        ("used", "used"),  # two letters would be left
        ("less", "less"),
        ("rooster", "roost"),
    ],
)
def test_stems(word, kept):
    assert _stem(word) == kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is (a). No, it is (b).", ("b", "parenthesised-letter")),
        ("(H) it is.", (None, "out-of-range")),
        ("The clip has a cat at first. It is the dog's bark, so a dog barks here.", ("a", "stem")),
        ("I hear a cat", ("b", "stem")),
        ("It crows loudly.\nRoosters do that at dawn", ("c", "stem")),
        # Under four words: the sentence before counts too.
        ("The sound is that of a cat. I am sure.", ("b", "stem")),
        ("The sound is that of a cat. I am very sure.", (None, "none")),
        # Longest option first, whatever else stands there.
        ("the cat hears a cow mooing", ("d", "stem")),
        ("so the final choice C it must be", ("c", "stated-letter")),
        ("The answer B" + " and so on" * 6, (None, "none")),
        ("it is a mystery to me", (None, "none")),
        ("", (None, "none")),
    ],
)
def test_stem(text, expected):
    assert read("stem", text) == expected


def test_stems_join_with_or_without_a_blank():
    assert read("stem", "the rainfall was heavy that day", options("rain falls"))[0] == "a"
    assert read("stem", "the speaker sounds sad and lonely", MOODS) == ("b", "stem")
    assert read("stem", "the speaker sounds saddened and lonely", MOODS) == ("b", "stem")
    assert read("stem", "they are crusaders through and through", MOODS) == (None, "none")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(a) or (b), rather (b)", ("b", "parenthesised-letter")),
        ("(a) " + "x" * 300, (None, "none")),
        ("option A fits. The answer is: C", ("c", "announced-letter")),
        ("the choice *B it is", ("b", "announced-letter")),
        ("A dog barking is what I hear.", ("a", "overlap")),
        ("barking", ("a", "overlap")),
        ("It meows. It purrs. It hisses. It walks.", (None, "none")),
        ("Cat. One. Two. Three.", (None, "none")),  # four sentences from the end
        ("Cat. Two. Three.", ("b", "overlap")),
        ("I would say D", ("d", "final-letter")),
        ("I would say A", (None, "none")),
        ("I", (None, "none")),
        ("", (None, "none")),
    ],
)
def test_overlap(text, expected):
    assert read("overlap", text) == expected


def test_overlap_weighs_the_share_and_ties_go_to_the_first():
    choices = options("red fox jumping", "red fox", "blue fox")
    assert read("overlap", "the red fox", choices)[0] == "b"
    assert read("overlap", "a fox", choices)[0] == "b"
    assert read("overlap", "a fox", options("blue fox", "red fox"))[0] == "a"


def test_the_conditioned_variant_reads_all_words_and_fewer_characters():
    text = "Cat. One. Two. Three. " + "x" * 60
    assert read("overlap", text)[0] is None
    assert read("overlap_conditioned", text) == ("b", "overlap")
    far = "(b) " + "x" * 150
    assert read("overlap", far)[0] == "b"
    assert read("overlap_conditioned", far)[0] is None
    you = options("you", "dog")
    assert read("overlap", "you", you)[0] is None
    assert read("overlap_conditioned", "you", you)[0] == "a"
    assert compat.faithfulness_af3_conditioned(far, ANIMALS).label is None


@pytest.mark.parametrize("rule", ["stem", "overlap"])
@pytest.mark.parametrize(
    ("text", "faulty"),
    [
        ("It is clear that this is not a cat", "b"),
        ("The pitch rules out a cat", "b"),
        ("I hear a growl rather than a cat", "b"),
        ("I think that a cat is unlikely", "b"),
    ],
)
def test_what_is_ruled_out_is_no_answer(rule, text, faulty):
    assert read(rule, text)[0] == faulty
    assert read(rule, text, guard=True)[0] is None


def test_the_guard_looks_past_what_is_ruled_out():
    text = "That is not a cat but a rooster, I think"
    assert read("stem", text) == ("c", "stem")  # the longer text is tried first
    assert read("stem", text, guard=True)[0] == "c"
    assert read("overlap", "Not (a), and never (b)", guard=True)[0] is None
    assert read("overlap", "It is (a), not (b)", guard=True) == ("a", "parenthesised-letter")


def test_only_answers_without_a_label_are_read_again():
    nulls, every = Recovery(), Recovery(when="all", negation_guard=False)
    text = "I hear a cat"
    assert nulls(Parsed("a", "statement"), text, ANIMALS) is None
    assert nulls(Parsed(None, "none"), text, ANIMALS) == Parsed("b", "stem")
    assert nulls(Parsed(None, "out-of-range"), text, ANIMALS) == Parsed("b", "stem")
    assert nulls(Parsed(None, "refusal"), text, ANIMALS) is None
    assert nulls(Parsed(None, "none"), "who knows", ANIMALS) is None
    assert every(Parsed("a", "statement"), text, ANIMALS) == Parsed("b", "stem")
    assert every(Parsed("a", "exact"), "A", ANIMALS) == Parsed(None, "none")


@pytest.mark.parametrize("setting", [{"rule": "guess"}, {"when": "never"}])
def test_a_wrong_setting_names_what_it_may_be(setting):
    with pytest.raises(ConfigError, match=r"task\.recover\..* must be one of"):
        Recovery(**setting)


@given(text=st.text(max_size=80), rule=st.sampled_from(sorted(RULES)), guard=st.booleans())
def test_any_text_gives_a_label_of_the_item_or_a_reason(text, rule, guard):
    label, stage = read(rule, text, guard=guard)
    assert label in {None, *"abcd"}
    assert (label is None) == (stage in {"none", "out-of-range"})


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("text", [" " * 200_000, "a " * 100_000, "." * 200_000, "dog" * 60_000])
def test_runaway_answers_cost_no_seconds(rule, text):
    began = time.perf_counter()
    read(rule, text, guard=True)
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("parser", "text", "expected"),
    [
        ("faithfulness_qwen_conditioned", "b\n</Conclusion>", ("b", "single-letter")),
        ("faithfulness_qwen_conditioned", "B, a dog", ("a", "single-letter")),
        ("faithfulness_qwen_conditioned", "N", (None, "none")),
        ("faithfulness_qwen_conditioned", "J", (None, "out-of-range")),
        ("faithfulness_qwen", "<Conclusion>N (not audible)</Conclusion>", (None, "out-of-range")),
        ("faithfulness_qwen", "The audio is not provided.", (None, "refusal")),
        ("faithfulness_af3", "Sorry. We can't hear the audio.", (None, "refusal")),
        ("faithfulness_af3_conditioned", "rooster.", ("c", "overlap")),
        ("faithfulness_af3_conditioned", "the audio was not provided.", (None, "refusal")),
        ("faithfulness_af3_conditioned", " ", (None, "empty")),
    ],
)
def test_first_pass_rules(parser, text, expected):
    found = getattr(compat, parser)(text, ANIMALS)
    assert (found.label, found.stage) == expected
