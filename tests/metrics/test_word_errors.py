import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.metrics import whisper_words
from lalm_bench.metrics.spelling import american
from lalm_bench.metrics.word_errors import WordErrors, corpus_wer, normalise, word_errors

# What some rule reads together with its neighbours, and what merely looks like it.
_PIECES = (
    'dog Cat a the and an half half. "half hálf half-way one two twenty oh zero first point double '
    "hundred thousand dollars cents per cent percent minus plus um uh hmm been gone got done he's "
    "he'd let 's let's don't twon't can 't can't o'clock ma'am i'ma mr. st 5 5. 5.5 $5 ¢7 $ % 5% 0 "
    "s st nd rd th th' 'tis ' '' - -- . ... , 1,250 10s 1960s (x (y) ) [z] [ ] < > () café ß ’s "
    "don’t twenty-and-a-half and, a, a. uh-huh um's u.s. x$ $x a% %a ½ ² K Σ colour been-there"
)
PIECES = _PIECES.split()
pieces = st.lists(st.sampled_from(PIECES), max_size=12)
blanks = st.sampled_from([" ", " ", " ", " ", "  ", "", "\n", "\u00a0", " \t"])

text = st.lists(st.sampled_from(["a", "dog", "ran", "off"]), min_size=1, max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("said", "normal"),
    [
        ("Mr. Park can't come, he's ill.", "mister park can not come he is ill"),
        ("two hundred and forty-one dollars", "$241"),
        ("It was the year nineteen ninety nine", "it was the year 1999"),
        ("uh (coughs) well [music] hmm yes", "well yes"),
        ("The grey theatre's programme, catalogued", "the gray theater is program cataloged"),
        ("Café naïve", "cafe naive"),
        ("", ""),
        ("  \n ", ""),
    ],
)
def test_normalising(said, normal):
    assert normalise(said) == normal


@pytest.mark.parametrize(
    ("british", "us"),
    [
        ("colour", "color"),
        ("travelling", "traveling"),
        ("organisations", "organizations"),
        ("analysed", "analyzed"),
        ("centred", "centered"),
        ("defence", "defense"),
        ("dialogue", "dialog"),
        ("ploughed", "plowed"),
        ("judgement", "judgment"),
        ("encyclopaedia", "encyclopedia"),
        ("practise", "practice"),
        ("jewellery", "jewelry"),
    ],
)
def test_both_spellings_are_one_word(british, us):
    assert american(british) == american(us)


def test_no_two_words_become_one():
    words = (
        "our or hour hoar four for your yore tour tor prise prize sour fence tire tyro metre met"
    )
    words += " rise size wise raise noise ten ton gray pray mold mould-like check cheek disk dish"
    folded = [american(word) for word in words.split()]
    assert len(set(folded)) == len(folded)


@given(text, text)
def test_edits_are_those_of_jiwer(reference, hypothesis):
    found = word_errors(reference, hypothesis)
    assert found.edits / found.words == pytest.approx(jiwer.wer(reference, hypothesis))


@given(st.lists(st.tuples(text, text), min_size=1, max_size=6))
def test_the_corpus_rate_pools(pairs):
    references, hypotheses = (list(side) for side in zip(*pairs, strict=True))
    assert corpus_wer(references, hypotheses) == pytest.approx(jiwer.wer(references, hypotheses))


def test_an_empty_transcript_is_all_deletions_and_stays_in():
    assert word_errors("a b", "") == WordErrors(0, 2, 0, 2)
    assert word_errors("", "a b") == WordErrors(0, 0, 2, 0)
    assert corpus_wer(["a b", "c d"], ["", "c d"]) == 0.5
    assert corpus_wer(["a", ""], ["a", "b c"]) == 2.0


def test_what_has_no_rate_is_refused():
    with pytest.raises(ValueError, match="no reference"):
        corpus_wer([""], ["a"])
    with pytest.raises(ValueError, match="1 references but 2"):
        corpus_wer(["a"], ["a", "b"])


def ruled(said):
    """The rules on the whole text, every word of it."""
    return [american(word) for word in whisper_words._rules()(said).split()]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PIECES), blanks), max_size=12))
def test_looking_words_up_gives_what_the_rules_give(parts):
    said = "".join([piece + blank for piece, blank in parts])
    assert whisper_words.whisper_words(said) == ruled(said)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), pieces)
def test_any_text_gives_what_the_rules_give(strange, known):
    said = " ".join([strange, *known, strange])
    assert whisper_words.whisper_words(said) == ruled(said)


def test_a_full_memory_changes_nothing(monkeypatch):
    monkeypatch.setattr(whisper_words, "_MOST_WORDS", 3)
    said = " ".join(PIECES)
    assert whisper_words.whisper_words(said) == ruled(said)


@given(text, text)
def test_kinds_of_edits_are_those_of_jiwer(reference, hypothesis):
    found, theirs = word_errors(reference, hypothesis), jiwer.process_words(reference, hypothesis)
    assert (found.substitutions, found.deletions, found.insertions) == (
        theirs.substitutions,
        theirs.deletions,
        theirs.insertions,
    )
