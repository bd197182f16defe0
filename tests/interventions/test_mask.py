"""Masks: exact shares, nested levels, the published blocks, regions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.mask import PLACEMENTS, Mask, MaskEdit
from lalm_bench.types import Context, Skip
from tests.interventions.clips import RATE, asked, edited, facts, item, wave

NESTED = [p for p in PLACEMENTS if p != "published"]
SPEECH = ((0.2, 0.7), (1.0, 1.5))
placements = st.sampled_from(PLACEMENTS)
ratios = st.floats(0, 1)
lengths = st.integers(1, 4000)
seeds = st.integers(0, 2**62)
spans = st.lists(
    st.tuples(st.floats(0, 5), st.floats(0, 5)).map(sorted).map(tuple), max_size=3
).map(tuple)


def chosen(edit, samples, rate=RATE):
    return edit.chosen(samples, rate, np.random.default_rng(edit.seed))


@settings(deadline=None)
@given(ratios, lengths, seeds, placements, st.sampled_from((0.001, 0.1, 0.5, 9.0)))
def test_exactly_the_share_of_any_length(ratio, length, seed, placement, segment):
    edit = MaskEdit(ratio, segment, seed, placement)
    assert chosen(edit, length).sum() == round(ratio * length)
    masked = edited(edit, np.ones(length, np.float32))
    assert (masked == 0).sum() == round(ratio * length)
    assert facts(edit, np.ones(length, np.float32))["masked_share"] == pytest.approx(
        (masked == 0).mean()
    )


@settings(deadline=None)
@given(ratios, ratios, lengths, seeds, st.sampled_from(NESTED), spans)
def test_levels_are_nested_within_any_region(a, b, length, seed, placement, speech):
    low, high = sorted((a, b))
    for region in ("all", "speech", "background"):
        weak, strong = (
            chosen(MaskEdit(r, 0.1, seed, placement, "zeros", region, speech), length)
            for r in (low, high)
        )
        assert not (weak & ~strong).any()


@settings(deadline=None)
@given(ratios, ratios, st.sampled_from(NESTED), seeds)
def test_noise_fill_has_the_clips_level_and_one_value_at_all_levels(a, b, placement, seed):
    plain = wave()
    weak, strong = (
        edited(MaskEdit(r, 0.1, seed, placement, "noise"), plain) for r in sorted((a, b))
    )
    where = chosen(MaskEdit(min(a, b), 0.1, seed, placement, "noise"), len(plain))
    assert np.array_equal(weak[where], strong[where])
    assert np.array_equal(weak[~where], plain[~where])


def test_noise_fill_is_as_loud_as_the_clip():
    plain = wave(60_000)
    noise = edited(MaskEdit(1.0, 0.1, 3, "scattered", "noise"), plain)
    assert 20 * np.log10(noise.std() / plain.std()) == pytest.approx(0, abs=0.2)
    assert not np.array_equal(noise, plain)


@settings(deadline=None)
@given(ratios, lengths, seeds, spans, st.sampled_from(("speech", "background")), placements)
def test_the_share_is_one_of_the_region_and_the_rest_is_untouched(
    ratio, length, seed, speech, region, placement
):
    if placement == "published":
        placement = "even"
    inside = np.zeros(length, bool)
    for start, end in speech:
        inside[round(start * RATE) : round(end * RATE)] = True
    if region == "background":
        inside = ~inside
    edit = MaskEdit(ratio, 0.1, seed, placement, "zeros", region, speech)
    masked = chosen(edit, length)
    assert masked.sum() == round(ratio * inside.sum())
    assert not (masked & ~inside).any()


@pytest.mark.parametrize(("ratio", "blocks"), [(0.2, 1), (0.4, 2), (0.6, 3), (0.8, 4)])
def test_published_blocks_lie_where_they_were_measured(ratio, blocks):
    rate, seconds = 16_000, 5.0
    masked = chosen(MaskEdit(ratio, 0.25, 0, "published"), round(rate * seconds), rate)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], masked, [0]))))
    starts, ends = edges[::2], edges[1::2]
    expected = (np.arange(blocks) + 0.5) * seconds / blocks - 0.5
    assert starts / rate == pytest.approx(expected, abs=2 / rate)
    assert (ends - starts == rate).all()


def test_published_levels_are_not_nested():
    weak, strong = (chosen(MaskEdit(r, 0.25, 0, "published"), 5000) for r in (0.2, 0.4))
    assert (weak & ~strong).any()


def test_a_single_block_is_one_block_in_various_places():
    starts = set()
    for seed in range(20):
        masked = chosen(MaskEdit(0.3, 0.1, seed, "single"), 2000)
        assert np.count_nonzero(np.diff(masked.astype(int))) <= 2
        starts.add(int(masked.argmax()))
    assert len(starts) > 10


def test_a_scattered_mask_is_in_several_places_that_depend_on_the_seed():
    masks = [chosen(MaskEdit(0.5, 0.1, seed), 4000) for seed in range(5)]
    assert len({m.tobytes() for m in masks}) == 5
    assert all(np.count_nonzero(np.diff(m.astype(int))) > 8 for m in masks)


def test_questions_on_a_clip_share_it_where_nothing_is_drawn():
    drawn, fixed = (
        [
            Mask(0.5, placement=p).apply(i, asked(i), Context(7)).clips()[0]
            for i in (item("one"), item("two"))
        ]
        for p in ("scattered", "even")
    )
    assert drawn[0] != drawn[1]
    assert fixed[0] == fixed[1]


def test_level_zero_is_the_request_itself():
    sample = item(speech=SPEECH)
    for more in ({}, {"fill": "noise"}, {"region": "speech"}, {"placement": "published"}):
        request = asked(sample)
        assert Mask(0, **more).apply(sample, request, Context(7)) is request


def test_segments_that_end_after_the_clip_are_cut():
    edit = MaskEdit(1.0, 0.1, 1, "scattered", "zeros", "speech", ((1.5, 9.0),))
    assert chosen(edit, 2000).tolist() == [False] * 1500 + [True] * 500


def test_an_item_without_speech_segments_is_skipped_and_said_so():
    told, mute = item("told", speech=SPEECH), item("mute")
    context = Context(7, [told, mute])
    mask = Mask(0.5, region="speech")
    assert mask.apply(told, asked(told), context).clips()[0].edits[0].speech == SPEECH
    assert mask.apply(mute, asked(mute), context) == Skip("it is not known where its speech is")
    assert isinstance(mask.apply(told, asked(told, clips=2), context), Skip)


def test_a_region_that_no_item_knows_is_refused():
    sample = item()
    with pytest.raises(ConfigError, match=r"region=background: no item .*task\.segments"):
        Mask(0.5, region="background").apply(sample, asked(sample), Context(7, [sample]))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"ratio": -0.01}, "ratio"),
        ({"ratio": 1.01}, "ratio"),
        ({"ratio": float("nan")}, "ratio"),
        ({"ratio": "much"}, "ratio"),
        ({"ratio": True}, "ratio"),
        ({"ratio": None}, "ratio"),
        ({"segment_s": 0}, "segment_s"),
        ({"placement": "random"}, "placement"),
        ({"fill": "music"}, "fill"),
        ({"region": "song"}, "region"),
        ({"placement": "published", "region": "speech"}, "placement"),
    ],
)
def test_impossible_settings_are_refused(wrong, named):
    with pytest.raises(ConfigError, match=rf"^intervention\.{named}=") as refusal:
        Mask(**({"ratio": 0.5} | wrong))
    assert "\n" not in str(refusal.value)
