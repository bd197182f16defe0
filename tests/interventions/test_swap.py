"""Swap: another clip with another label, drawn by seed, whatever the order of the items."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.swap import Swap
from lalm_bench.types import Context, Sample, Skip
from tests.interventions.clips import asked, item

items = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")), min_size=1, max_size=30).map(
    lambda rows: [item(f"i{n}", f"{clip}.wav", label) for n, (clip, label) in enumerate(rows)]
)


def swapped(sample, samples, seed=7, **more):
    request = Swap(**more).apply(sample, asked(sample), Context(seed, samples))
    return request if isinstance(request, Skip) else request.clips()[0].clip


def text(sample):
    return sample.choices[0].text


@settings(deadline=None)
@given(items, st.integers(0, 99))
def test_never_the_same_clip_and_never_the_same_label(samples, seed):
    for sample in samples:
        possible = {
            other.audio[0]
            for other in samples
            if other.audio != sample.audio and text(other) != text(sample)
        }
        given = swapped(sample, samples, seed)
        assert given in possible if possible else isinstance(given, Skip)


@settings(deadline=None)
@given(items, st.randoms())
def test_the_order_of_the_items_changes_nothing(samples, random):
    shuffled = random.sample(samples, len(samples))
    for sample in samples:
        assert swapped(sample, samples) == swapped(sample, shuffled)


def test_the_seed_draws():
    samples = [item(f"i{n}", f"{n}.wav", str(n)) for n in range(40)]
    assert len({swapped(samples[0], samples, seed) for seed in range(20)}) > 10


def test_clips_are_used_about_equally_often():
    samples = [item(f"i{n}", f"{n}.wav", str(n)) for n in range(200)]
    assert len({swapped(sample, samples) for sample in samples}) == 200


def test_another_item_moves_one_neighbour():
    samples = [item(f"i{n}", f"{n}.wav", str(n)) for n in range(100)]
    moved = [s for s in samples if swapped(s, samples) != swapped(s, samples[1:]) and s.id != "i0"]
    assert len(moved) == 1


def test_the_attribute_goes_before_the_answer_and_a_named_field_before_both():
    dog = item("dog", "1.wav", "barks", attribute="dog", track="animal")
    hound = item("hound", "2.wav", "growls", attribute="Dog ", track="sound")
    assert swapped(dog, [dog, hound]) == Skip("no other item has another clip and another label")
    assert swapped(dog, [dog, hound], label="track") == hound.audio[0]
    with pytest.raises(ConfigError, match=r"intervention\.label=mood"):
        swapped(dog, [dog, hound], label="mood")


def test_free_text_items_may_get_any_other_clip():
    first, second = (Sample(n, item(path=n).audio, "?", (), "open", n) for n in "ab")
    assert swapped(first, [first, second]) == second.audio[0]
    assert isinstance(swapped(first, [first]), Skip)


def test_one_label_for_thousands_of_items_is_found_out_quickly():
    samples = [item(f"i{n}", f"{n}.wav", "yes" if n else "no") for n in range(5000)]
    intervention, context = Swap(), Context(7, samples)
    began = time.perf_counter()
    given = [intervention.apply(s, asked(s), context).clips()[0].clip for s in samples]
    assert {g.path for g in given[1:]} == {"0.wav"}
    assert time.perf_counter() - began < 2


def test_all_clips_of_a_request_are_swapped():
    one, other = item("one", "1.wav", "a"), item("other", "2.wav", "b")
    request = Swap().apply(one, asked(one, clips=3), Context(7, [one, other]))
    assert [s.clip for s in request.clips()] == [other.audio[0]] * 3
    assert request.choices == one.choices
