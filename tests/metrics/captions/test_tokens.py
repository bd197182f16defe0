"""Expected words are what Stanford's PTBTokenizer 3.4.1 gave, less the punctuation COCO drops."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.metrics.captions.tokens import tokenise

STANFORD = {
    "A man isn't talking, but a woman can't stop; the man's dog barks!": (
        "a man is n't talking but a woman ca n't stop the man 's dog barks"
    ),
    "He said \"hello there\" and 'goodbye'.": "he said hello there and goodbye",
    "I'm gonna wanna gotta lemme gimme cannot 'tis 'twas": (
        "i 'm gon na wan na got ta lem me gim me can not 't is 't was"
    ),
    "a high-pitched whirring -- then silence - and more...": (
        "a high-pitched whirring then silence and more"
    ),
    "It costs $3.50 in the U.S. at 5 p.m. today.": "it costs $ 3.50 in the u.s. at 5 p.m. today",
    "Mr. Smith, Dr. Jones and St. Mary's. etc. vs. Inc.": (
        "mr. smith dr. jones and st. mary 's etc. vs. inc."
    ),
    "(a bird) [sings] {loudly} <b>now</b>": (
        "-lrb- a bird -rrb- -lsb- sings -rsb- -lcb- loudly -rcb- <b> now </b>"
    ),
    "-lrb- -rrb- ... . , ! ?": "-lrb- -rrb-",
    "50% of 1/2; 1,000 people; 10:30; 3rd; 1990's; the '90s": (
        "50 % of 1/2 1,000 people 10:30 3rd 1990 's the '90s"
    ),
    "“curly” ‘quotes’ it’s don’t — dash – en … ellipsis": (
        "curly quotes it 's do n't dash en ellipsis"
    ),
    "they're we've she'd he'll y'all ain't o'clock o'brien": (
        "they 're we 've she 'd he 'll y' all ai n't o'clock o'brien"
    ),
    "well... hmm?! what!? no.. yes....": "well hmm ?! what !? no yes",
    "a/b and/or w/ and w/o the *sound* _under_ #hash @at": (
        "a/b and/or w / and w/o the * sound * _ under _ #hash @at"
    ),
    "He'd've could've shouldn't've won't": "he 'd 've could 've should n't 've wo n't",
    "vroom!!! beep,beep water dripping;wind:blowing": (
        "vroom !!! beep beep water dripping wind blowing"
    ),
    "No. 5 is no. It is no.": "no. 5 is no it is no",
    "hee-haw tick-tock- -tick": "hee-haw tick-tock tick",
    "100Hz 5kHz 2-year-old co-operate x-ray T-shirt": (
        "100hz 5khz 2-year-old co-operate x-ray t-shirt"
    ),
    "colour neighbour theatre": "colour neighbour theatre",
}

PIECES = ["a", "dog", "barks", "isn't", "5", "p.m.", "high-pitched", "cannot", "(far)", ",", "."]


@pytest.mark.parametrize("caption", STANFORD)
def test_words_are_those_of_the_reference(caption):
    assert " ".join(tokenise(caption)) == STANFORD[caption]


def test_an_answer_without_a_word_has_none():
    for text in ("", " \n", "...", "- -- ' \" , ; : ! ?"):
        assert tokenise(text) == []


@given(
    st.lists(
        st.sampled_from(
            ["a", "dog", "barks", "isn't", "5", "p.m.", "high-pitched", "cannot", "(far)", ",", "."]
        )
    )
)
def test_tokenising_twice_changes_nothing(pieces):
    once = tokenise(" ".join(pieces))
    assert tokenise(" ".join(once)) == once


@given(st.text())
def test_any_text_can_be_tokenised(text):
    for word in tokenise(text):
        assert word
        assert not any(c in " \t\r\n" for c in word)


@pytest.mark.parametrize(
    "piece", ["a", "-.", "a.-", "a-", "n't", "'", "a@", "1,", "(", "&amp;", "a."]
)
def test_a_model_that_repeats_itself_costs_no_time(piece):
    began = time.process_time()
    tokenise(piece * 50_000)
    assert time.process_time() - began < 2
