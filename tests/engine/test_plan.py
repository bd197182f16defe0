"""The order of asking: all once, like settings and like audio together, the longest first."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.engine.plan import ordered, setting
from lalm_bench.types import Generation, Request

GENERATIONS = (
    Generation(),
    Generation(64),
    Generation(temperature=0.7, seed=1),
    Generation(temperature=0.7, seed=2),
    Generation(mode="letter_likelihood"),
)
requests = st.lists(
    st.tuples(
        st.floats(0, 600),
        st.sampled_from(GENERATIONS),
        st.sampled_from([None, "rain", "dog", "car"]),
    ),
    max_size=40,
).map(
    lambda rows: {
        Request(str(i), (), generation=generation, key=str(i)): (length, audio)
        for i, (length, generation, audio) in enumerate(rows)
    }
)


def plan(known, given=None):
    return ordered(known if given is None else given, lambda r: known[r][0], lambda r: known[r][1])


@given(requests)
def test_every_request_is_asked_once_beside_its_like(known):
    order = plan(known)
    assert sorted(r.key for r in order) == sorted(r.key for r in known)
    settings = [s for s, _ in groupby(order, lambda r: setting(r.generation))]
    assert len(settings) == len(set(settings))
    heard = [
        name
        for name, _ in groupby(order, lambda r: (setting(r.generation), known[r][1]))
        if name[1] is not None
    ]
    assert len(heard) == len(set(heard))


@given(requests)
def test_the_longest_come_first(known):
    order = plan(known)
    for _, group in groupby(order, lambda r: setting(r.generation)):
        longest = []
        for audio, members in groupby(group, lambda r: known[r][1] or r):
            lengths = [known[r][0] for r in members]
            assert lengths == sorted(lengths, reverse=True)
            assert len(lengths) == 1 or not isinstance(audio, Request)
            longest.append(lengths[0])
        assert longest == sorted(longest, reverse=True)


@given(requests, st.randoms())
def test_the_order_of_the_requests_does_not_matter(known, random):
    mixed = list(known)
    random.shuffle(mixed)
    assert plan(known, mixed) == plan(known)


def test_what_hears_nothing_is_sorted_by_length_alone():
    texts = [Request(str(n), (), key=str(n)) for n in (3, 1, 2)]
    assert [r.key for r in ordered(texts, lambda r: float(r.key))] == ["3", "2", "1"]


def test_batches_agree_on_everything_but_the_seed():
    drawn = Generation(8, 0.7, 0.9, seed=4)
    assert setting(drawn) == setting(Generation(8, 0.7, 0.9, seed=5))
    others = (Generation(9, 0.7, 0.9), Generation(8, 0.6, 0.9), Generation(8, 0.7, 0.8))
    assert all(setting(other) != setting(drawn) for other in others)
    assert setting(Generation(mode="option_pmi")) != setting(Generation())
