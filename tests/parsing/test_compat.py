from __future__ import annotations

from pathlib import Path

import pytest
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lalm_bench.parsing import compat
from lalm_bench.parsing.strict import extract
from lalm_bench.types import Choice

CONF = Path(__file__).parents[2] / "conf" / "task" / "parser"
PARSERS = [name for name in compat.__all__ if name != "string_match"]


def options(labels, *texts):
    return tuple(Choice(label, text) for label, text in zip(labels, texts, strict=True))


OPTIONS = options("ABCD", "a dog barks", "two beeps", "the audience cheers", "no sound")
MANY = options("ABCDEFGHIJ", *"klmnopqrst")
LABELS = [c.label for c in OPTIONS]
NOTHING = {"empty", "none", "out-of-range", "refusal"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (None, "empty")),
        ("  \n", (None, "empty")),
        (" A ", ("A", "exact-label")),
        ("b", ("B", "exact-label")),
        ('{"label": "b"}', ("B", "json-label")),
        ('{"label": "Z"}', (None, "none")),
        ("A.", ("A", "regex-label")),
        ("C. two beeps", ("C", "regex-label")),
        ("B.two beeps", ("B", "regex-label")),
        ("The answer is (b)", ("B", "regex-label")),
        ("answer: is c", ("C", "regex-label")),
        ("option - d", ("D", "regex-label")),
        ("Two  Beeps!", ("B", "text-match")),
        ("I hear two beeps", (None, "none")),
        ("None of the options provided (A, B, or C) accurately", ("A", "regex-label")),
        ("A car passes by", ("A", "regex-label")),
        ("it is not possible to determine", (None, "none")),
        ('{"label": 3}', (None, "none")),
        ("{" * 5000, (None, "none")),
    ],
)
def test_tacobelal(text, expected):
    found = compat.tacobelal(text, OPTIONS)
    assert (found.label, found.stage) == expected


def test_tacobelal_takes_the_pronoun_with_nine_options():
    assert compat.tacobelal("I'm sorry, no", MANY).label == "I"


def test_tacobelal_multi_letter_and_first_of_equal_texts():
    assert compat.tacobelal("It is AF.", options(["A", "AF"], "x", "y")).label == "AF"
    assert compat.tacobelal("same", options("AB", "Same.", "same")).label == "A"


@pytest.mark.parametrize(
    ("text", "af3", "text_only"),
    [
        ("A", "A", "A"),
        ("b", None, None),
        ('{"label": "B"}', "B", "B"),
        ('{"label": "b"}', None, None),
        ("The answer is (b)", None, None),
        ("The answer is C.", "C", "C"),
        ("two beeps.", "B", None),
        ("", None, None),
    ],
)
def test_tacobelal_rules_for_other_models(text, af3, text_only):
    assert compat.tacobelal_af3(text, OPTIONS).label == af3
    assert compat.tacobelal_text(text, OPTIONS).label == text_only


@pytest.mark.parametrize(
    ("text", "reasoned", "direct"),
    [
        ("(A) is out. The answer is (b).", ("B", "parenthesised-letter"), "A"),
        ("It beeps. Two beeps!", ("B", "text-match"), None),
        ("First. The answer is C: cheers", ("C", "punctuated-letter"), "C"),
        ("I think so. It is d", ("D", "single-letter"), None),
        ("Nothing fits. It is a dog", ("A", "single-letter"), "A"),
        ("No. I think so", (None, "out-of-range"), None),
        ("Out of range: (H)", (None, "out-of-range"), None),
        ("", (None, "empty"), None),
    ],
)
def test_faithfulness_af3(text, reasoned, direct):
    found = compat.faithfulness_af3(text, OPTIONS)
    assert (found.label, found.stage) == reasoned
    assert compat.faithfulness_af3_direct(text, OPTIONS).label == direct


@pytest.mark.parametrize(
    ("text", "label", "stage"),
    [
        ("<Reasoning>(A)</Reasoning><Conclusion>c</Conclusion>", "C", "tag-letter"),
        ("<Conclusion>N (not audible)</Conclusion> (A)", None, "out-of-range"),
        ("<Conclusion>two beeps</Conclusion> so B", "B", "single-letter"),
        ("A dog, then B", "B", "single-letter"),
        ("(c) and (d)", "C", "parenthesised-letter"),
        ("the audience cheers.", "C", "text-match"),
        ("B. or C.", "B", "punctuated-letter"),
        (" ", None, "empty"),
    ],
)
def test_faithfulness_qwen(text, label, stage):
    found = compat.faithfulness_qwen(text, OPTIONS)
    assert (found.label, found.stage) == (label, stage)


@pytest.mark.parametrize(
    ("prediction", "answer", "choices", "accepted"),
    [
        ("It is a dog.", "dog", ["dog", "cat"], True),
        ("It is a cat.", "dog", ["dog", "cat"], False),
        ("dog or cat", "dog", ["dog", "cat"], False),
        ("", "dog", ["dog", "cat"], False),
        ("...", "dog", ["dog", "cat"], False),
        ("A", "dog", ["dog", "cat"], False),
        ("from near to far", "From far to near", ["From far to near", "From near to far"], True),
        ("(A) Woman and child", "Woman and child", ["Woman and child", "a man"], False),
        ("Woman and child", "Woman and child", ["Woman and child", "a man"], True),
        ("man", "man", ["man", "man and dog"], True),
    ],
)
def test_string_match(prediction, answer, choices, accepted):
    assert compat.string_match(prediction, answer, choices) is accepted


def test_string_match_as_a_label():
    found = compat.mmau_string_match("I hear two beeps", OPTIONS)
    assert (found.label, found.stage) == ("B", "string-match")
    assert compat.mmau_string_match("B", OPTIONS).label is None
    wordless = options("AB", "...", "dog")
    assert compat.mmau_string_match("cat", wordless).label is None


# AudioMarathon's recorded misreadings.
@pytest.mark.parametrize(
    ("parser", "text", "label"),
    [
        ("audiomarathon_race", "The answer is B", "A"),
        ("audiomarathon_race", "Based on the audio, C", "B"),
        ("audiomarathon_race", "I cannot tell", "C"),
        ("audiomarathon_race", "zzz", None),
        ("audiomarathon", "A dog is barking, so C", "A"),
        ("audiomarathon", "Blender", "B"),
        ("audiomarathon", "the answer: c", "C"),
        ("audiomarathon_gtzan", "Metal", "A"),
        ("audiomarathon_gtzan", "Blues - blues", "B"),
        ("audiomarathon_gtzan", "B. Metal", "B"),
        ("audiomarathon_gtzan", "A genre like D", "D"),
        ("audiomarathon_gtzan", "A hit, option c here", "C"),
        ("audiomarathon_slue", "There are 46 entities", "A"),
        ("audiomarathon_slue", "C46", "C"),
        ("audiomarathon_vox_age", "The answer b here", "B"),
        ("audiomarathon_vox_age", "I heard two beeps there", "B"),
        ("audiomarathon_vox_age", "Blender", None),
        ("audiomarathon_race", "user\nA B C D\nassistant\nd", "D"),
    ],
)
def test_audiomarathon(parser, text, label):
    assert getattr(compat, parser)(text, OPTIONS).label == label


@pytest.mark.parametrize("name", PARSERS)
@given(text=st.text(max_size=60))
def test_any_text_gives_a_label_of_the_item_or_a_reason(name, text):
    found = getattr(compat, name)(text, OPTIONS)
    assert found.label is None or found.label in LABELS
    assert (found.label is None) == (found.stage in NOTHING)
    assert (found.stage == "empty") <= (not text.strip() or "assistant\n" in text)


@pytest.mark.parametrize("name", PARSERS)
def test_no_options_means_no_label(name):
    assert getattr(compat, name)("A. dog (B)", ()).label is None


@pytest.mark.parametrize("name", ["strict", *PARSERS])
def test_every_parser_has_its_configuration(name):
    parser = instantiate(OmegaConf.load(CONF / f"{name}.yaml"))
    assert parser is (extract if name == "strict" else getattr(compat, name))
