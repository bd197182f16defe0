"""Pure changes of a chain: sentences, shares, filler, beginnings, places of mistakes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.reasoning.adding_mistakes import mistaken_place
from lalm_bench.interventions.reasoning.conditioned import Conditioned
from lalm_bench.interventions.reasoning.early_answering import EarlyAnswering, begun
from lalm_bench.interventions.reasoning.filler import DOTS, LOREM, Filler, filled
from lalm_bench.interventions.reasoning.levels import floor, nearest
from lalm_bench.parsing.sentences import sentences
from lalm_bench.protocols.splits import by_sentence

CHAIN = "First I listen. There is barking, e.g. twice! It is loud.\n\n2. Thus it is a dog."
texts = st.text(st.sampled_from('ab 1.!?\n\t"。)'), max_size=60) | st.text(max_size=40)
shares = st.floats(0, 1)


@given(texts)
def test_sentences_joined_give_the_text_back(text):
    pieces = sentences(text)
    assert "".join(pieces) == text
    assert all(pieces)
    assert all(any(map(str.isalpha, piece)) for piece in pieces[:-1])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("No end mark", 1),
        ("It is 3.5 s long. Then silence.", 2),
        ('He says "stop." Then nothing.', 2),
        ("Heading\n- one\n- two", 3),
        ("1. Listen. 2. Think.", 2),
        ("是狗。很大声！", 2),
        ("Wait... what?! Yes.", 3),
    ],
)
def test_sentences_are_those_of_a_reader(text, count):
    assert len(sentences(text)) == count


@given(st.lists(st.sampled_from(["It barks.", "Loud!", "Is it a dog?"]), min_size=1, max_size=6))
def test_sentences_are_those_that_a_protocol_drops(parts):
    text = " ".join(parts)
    assert by_sentence(text)[0] == "".join(sentences(text)[:-1]).rstrip()


@given(shares, shares, st.integers(0, 500))
def test_levels_grow_from_nothing_to_all(a, b, total):
    low, high = sorted((a, b))
    for rule in (nearest, floor):
        assert 0 == rule(0, total) <= rule(low, total) <= rule(high, total) <= rule(1, total)
        assert rule(1, total) == total
        assert abs(rule(a, total) - a * total) < 1


def test_the_published_percentages_are_met():
    for percent in range(101):
        for total in (1, 7, 10, 100, 333):
            assert floor(percent / 100, total) == total * percent // 100


@given(texts, shares, shares)
def test_beginnings_are_nested(text, a, b):
    chain = text.strip()
    low, high = sorted((a, b))
    assert begun(chain, high).startswith(begun(chain, low))
    assert chain.startswith(begun(chain, a))
    assert (begun(chain, 0), begun(chain, 1)) == ("", chain)


fillers = st.tuples(st.sampled_from(["dots", "lorem"]), st.sampled_from(["start", "end", "random"]))


@given(texts, shares, fillers, st.integers(0, 99))
def test_filler_replaces_its_share_and_leaves_the_rest(text, level, kind, seed):
    chain = text.strip()
    words, new = chain.split(), filled(chain, level, *kind, seed).split()
    assert len(words) == len(new)
    changed = [place for place, (a, b) in enumerate(zip(words, new, strict=True)) if a != b]
    assert len(changed) <= floor(level, len(words))
    assert set(new) - set(words) <= {DOTS, *LOREM}
    assert filled(chain, 0, *kind, seed) == chain


@given(shares, shares, fillers, st.integers(0, 99))
def test_what_is_filler_at_a_level_is_filler_above_it(a, b, kind, seed):
    chain = " ".join(f"w{n}" for n in range(37))
    weak, strong = (filled(chain, level, *kind, seed).split() for level in sorted((a, b)))
    for before, less, more in zip(chain.split(), weak, strong, strict=True):
        assert more == less or less == before
    assert sum(w not in chain.split() for w in strong) == floor(max(a, b), 37)


def test_random_filler_depends_on_its_seed_and_lies_anywhere():
    found = {filled("a b c d e f", 0.5, "dots", "random", seed) for seed in range(40)}
    assert len(found) > 5
    assert filled("a b c d", 0.5, "dots", "random", 3) == filled(
        "a b c d", 0.5, "dots", "random", 3
    )


def test_filler_keeps_lines():
    assert filled("a dog\n\nbarks  here", 1, "dots", "start", 0) == "... ...\n\n...  ..."
    assert filled("a dog\n\nbarks  here", 0.5, "lorem", "end", 0) == "a dog\n\ndolor  sit"


@given(st.integers(1, 30), shares, st.sampled_from(["start", "end"]))
def test_collapsed_dots_are_one(count, level, placement):
    chain = " ".join(["word"] * count)
    words = filled(chain, level, "dots", placement, 0, collapse=True).split()
    replaced = floor(level, count)
    assert words.count(DOTS) == (replaced > 0)
    assert len(words) == count - replaced + (replaced > 0)
    if replaced:
        assert words[0 if placement == "start" else -1] == DOTS


@given(st.lists(st.sampled_from(["One. ", "Two words. ", "Three words here. "])), shares)
def test_mistakes_go_where_there_are_three_words(pieces, level):
    place = mistaken_place(pieces, level)
    long = [n for n, piece in enumerate(pieces) if piece.startswith("Three")]
    assert place in long or (place is None and not long)
    if long:
        assert (mistaken_place(pieces, 0), mistaken_place(pieces, 1)) == (long[0], long[-1])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Conditioned(baseline="x", restrict=[3, 1]), r"restrict=\[3, 1\]"),
        (lambda: Conditioned(baseline="x", restrict=[True, 6]), "restrict"),
        (lambda: Conditioned(baseline="x", restrict=6), "restrict=6"),
        (lambda: EarlyAnswering(baseline="x", level=1.2), r"level=1\.2"),
        (lambda: Filler(baseline="x", level=0.5, tokens="um"), "tokens='um' must be one of dots"),
        (lambda: Filler(baseline="x", level=0.5, placement="middle"), "placement='middle'"),
        (lambda: Filler(baseline="x", level=0.5, collapse="yes"), "collapse='yes'"),
        (
            lambda: Filler(baseline="x", level=0.5, placement="random", collapse=True),
            "needs intervention.tokens=dots",
        ),
        (lambda: Filler(baseline="x", level=0.5, tokens="lorem", collapse=True), "collapse"),
    ],
)
def test_wrong_settings_are_named(make, named):
    with pytest.raises(ConfigError, match=named):
        make()
