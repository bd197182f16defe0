"""The 27 rules: each holds, each breaks, none crashes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.metrics.instructions import (
    INSTRUCTIONS,
    find,
    followed,
    lacking,
    sentences,
    words,
)

# name, arguments, an answer that keeps the rule, one that breaks it
CASES = [
    ("Include Keywords", {"keywords": "rain, Wind"}, "Wind and rain.", "Only rain."),
    ("Include Keywords", {"keywords": ["a b", "c"]}, "C, a b", "a c b"),
    ("Keyword Frequency", {"keyword": "cat", "N": 2}, "Cat, cat and cats", "cat"),
    ("Keyword Frequency", {"keyword": "a+b", "N": 1.0}, "a+b!", "aab"),
    ("Forbidden Words", {"forbidden_words": "cat, dog"}, "A bird.", "A Dog."),
    ("Number Paragraphs", {"N": 2}, "one\n***\ntwo", "one\n\ntwo"),
    ("Number Words (at least)", {"N": 3}, "don't do that", "do that"),
    ("Number Words (at most)", {"N": 2}, "high-pitched noise", "a high pitched noise"),
    ("Number Words (range)", {"N1": 2, "N2": 3}, "one two three", "one two three four"),
    ("Number Sentences at least", {"N": 2}, "One. Two!", "Dr. One."),
    ("Number Sentences at most", {"N": "1"}, "It is 3.5 s, e.g. short.", "One. Two."),
    ("Number Sentences range", {"N1": 1, "N2": 2}, "One? Two.", "One. Two. Three."),
    ("Postscript", {"postscript_marker": "P.S."}, "Done.\nP.S. Bye", "Done, perhaps."),
    ("Number Placeholder", {"N": 2}, "[name] at [place]", "[name] at []"),
    ("Number Bullets", {"N": 2}, "* a\n  * b\ntext", "* a\n- b"),
    ("Title", {}, "<<Rain>>\ntext", "<< >>"),
    ("Minimum Number Highlighted Section", {"N": 2}, "*a* and *b c*", "*a* and * *"),
    ("Multiple Sections", {"section_splitter": "Part", "N": 2}, "Part 1 a Part 2 b", "Part 1 a"),
    ("Repeat Prompt", {"question": "What is it?"}, "what is  it? Rain.", "Rain. What is it?"),
    ("Two Responses", {}, "one ****** two", "one ****** one"),
    ("All Uppercase", {}, "RAIN, 2 TIMES!", "Rain"),
    ("All Lowercase", {}, "rain, 2 times!", "Rain"),
    ("All-capital Words at least", {"N": 2}, "The BBC and ITV", "The BBC"),
    ("All-capital Words at most", {"N": 0}, "The rain", "The BBC"),
    ("All-capital Words range", {"N1": 1, "N2": 1}, "The BBC", "BBC ITV"),
    ("Start Checker", {"start_phrase": "Well, then"}, "'Well then: rain", "Oh well, then"),
    ("End Checker", {"end_phrase": "that is all."}, "Rain. That is all!", "That is all. Rain."),
    ("Quotation", {}, ' "rain" ', '"rain" falls'),
    ("No Commas", {}, "rain", "rain, wind"),
]


def test_there_are_27_rules_and_each_is_tried():
    assert len(INSTRUCTIONS) == 27
    assert {find(name) for name, *_ in CASES} == set(INSTRUCTIONS)


@pytest.mark.parametrize(("name", "arguments", "kept", "broken"), CASES)
def test_a_rule_holds_and_breaks(name, arguments, kept, broken):
    rule = find(name)
    assert not lacking(rule, arguments)
    assert followed(rule, kept, arguments)
    assert not followed(rule, broken, arguments)


@pytest.mark.parametrize("name", [i.name for i in INSTRUCTIONS])
def test_an_empty_answer_keeps_no_rule(name):
    arguments = next(a for n, a, *_ in CASES if find(n) == find(name))
    assert not followed(find(name), "  \n", arguments)


def test_nothing_forbidden_is_nothing_broken():
    """The original fails every answer then, since every text contains the empty one."""
    for nothing in (None, [], "", ", ", [""]):
        arguments = {} if nothing is None else {"forbidden_words": nothing}
        assert followed(find("Forbidden Words"), "anything", arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "absent"),
    [
        ("Number Words range", {"N1": 1}, ["N2"]),
        ("Number Words range", {"N1": "few", "N2": 2.5}, ["N1", "N2"]),
        ("Number Bullets", {"N": float("nan")}, ["N"]),
        ("Keyword Frequency", {"keyword": " ", "N": 1}, ["keyword"]),
        ("Include Keywords", {}, ["keywords"]),
        ("No Commas", {}, []),
    ],
)
def test_absent_arguments_are_named(name, arguments, absent):
    assert lacking(find(name), arguments) == absent


@pytest.mark.parametrize(
    "name", ["number words (AT LEAST)", "Number_Words_at_least", "Number Words - at least"]
)
def test_names_are_known_however_they_are_written(name):
    assert find(name).name == "Number Words at least"


def test_unknown_rules_are_unknown():
    assert find("Sing") is None
    assert find("") is None


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("no end", 1),
        ("One. Two? Three!", 3),
        ('He said "Stop." Then rain.', 2),
        ("Mr. A. B. Smith left.", 1),
        ("Wait... what?!", 2),
        ("Version 2.5 is out.", 1),
        ("First line.\nSecond line.", 2),
        ("!!! ???", 0),
        ("It ends with etc.", 1),
    ],
)
def test_sentences(text, count):
    assert len(sentences(text)) == count


@given(st.text(max_size=60))
def test_splitting_loses_no_word(text):
    assert sum(len(words(s)) for s in sentences(text)) == len(words(text))


@given(st.sampled_from(CASES), st.text(max_size=80))
@settings(max_examples=200)
def test_no_text_crashes_a_rule(case, text):
    name, arguments, *_ = case
    assert followed(find(name), text, arguments) in (True, False)


@given(st.text(max_size=60), st.integers(0, 12))
def test_a_range_is_both_bounds(text, n):
    for count in ("Number Words", "Number Sentences", "All-capital Words"):
        least = followed(find(f"{count} at least"), text, {"N": n})
        most = followed(find(f"{count} at most"), text, {"N": n + 2})
        both = followed(find(f"{count} range"), text, {"N1": n, "N2": n + 2})
        assert both == (least and most)
