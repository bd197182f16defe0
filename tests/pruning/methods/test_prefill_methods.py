"""random, frame, fastv, pooling and merge choose what their specification says."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.errors import ConfigError
from lalm_bench.pruning.methods.dart import Dart
from lalm_bench.pruning.methods.fastv import FastV
from lalm_bench.pruning.methods.frame import Frame
from lalm_bench.pruning.methods.merge import Merge
from lalm_bench.pruning.methods.pooling import Pooling
from lalm_bench.pruning.methods.random import Random
from lalm_bench.pruning.methods.ranking import highest, lowest
from tests.pruning.methods import references
from tests.pruning.methods.rows import patient, row, rows

METHODS = (Random(), Frame(), FastV(), Dart(), Pooling(), Merge())


@patient
@given(st.lists(st.integers(-3, 3), max_size=40), st.data())
def test_equal_scores_stay_in_order(scores, data):
    keep = data.draw(st.integers(0, len(scores)))
    given = torch.tensor(scores, dtype=torch.float32)
    ranked = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    assert highest(given, keep).tolist() == sorted(ranked[:keep])
    assert highest(given.expand(2, 3, -1), keep)[1, 2].tolist() == sorted(ranked[:keep])
    ranked = sorted(range(len(scores)), key=lambda i: (scores[i], i))
    assert lowest(given, keep).tolist() == ranked[:keep]


@patient
@given(rows(), st.data())
def test_every_method_gives_ascending_positions_of_the_count_asked_for(drawn, data):
    keep = data.draw(st.integers(1, len(drawn)))
    for method in METHODS:
        kept = method.select(drawn.seen, drawn.audio, keep).tolist()
        assert len(kept) == keep
        assert kept == sorted(set(kept))
        assert 0 <= kept[0] <= kept[-1] < len(drawn)


@patient
@given(st.integers(1, 9000), st.integers(0, 100))
def test_every_method_counts_in_decimal(tokens, percent):
    ratio = percent / 100
    exact = int(tokens * (1 - Fraction(percent, 100)))
    for method in METHODS:
        assert method.count(tokens, ratio, "match") == max(1, exact)
    for method in (Random(), Frame(), FastV(), Pooling(), Merge()):
        assert method.count(tokens, ratio, "floor") == max(1, exact)
    assert FastV(may_keep_none=True).count(tokens, ratio, "floor") == exact
    assert FastV(may_keep_none=True).count(tokens, ratio, "match") == max(1, exact)


def test_a_draw_depends_on_the_seed_and_is_nested():
    drawn = row([(3, 200), (2, 0)])
    kept = {
        (seed, keep): set(Random().select(row([(3, 200)], seed).seen, drawn.audio, keep).tolist())
        for seed in (1, 2)
        for keep in (20, 80, 199)
    }
    assert kept[1, 20] < kept[1, 80] < kept[1, 199]
    assert kept[1, 80] != kept[2, 80]
    again = Random().select(row([(9, 200)], 1).seen, drawn.audio + 6, 80)
    assert set(again.tolist()) == kept[1, 80]


def test_a_draw_is_uniform():
    # 2000 draws of 5 in 10: a count further off than this is a chance of 1e-6 for any of the ten.
    counts = torch.zeros(10)
    for seed in range(2000):
        drawn = row([(0, 10)], seed)
        counts[Random().select(drawn.seen, drawn.audio, 5)] += 1
    assert (counts - 1000).abs().max() < 6 * (2000 * 0.25) ** 0.5


@patient
@given(rows(), st.data())
def test_frame_keeps_equal_distances(drawn, data):
    keep = data.draw(st.integers(1, len(drawn)))
    expected = [i * len(drawn) // keep for i in range(keep)]
    assert Frame().select(drawn.seen, drawn.audio, keep).tolist() == expected


@patient
@given(rows(window=1, reach=st.sampled_from([None, 1, 4, 9])), st.data())
def test_fastv_keeps_what_the_last_query_attends_to(drawn, data):
    keep = data.draw(st.integers(1, len(drawn)))
    kept = FastV().select(drawn.seen, drawn.audio, keep).tolist()
    assert kept == references.fastv(drawn.seen, drawn.audio, keep)


def test_fastv_ignores_all_queries_but_the_last_and_breaks_ties_by_position():
    drawn = row([(3, 9), (2, 6), (4, 0)])
    drawn.seen.keys[:] = 0
    drawn.seen.keys[:, drawn.audio[11]] = 5 * drawn.seen.queries[::2, -1]
    assert FastV().select(drawn.seen, drawn.audio, 4).tolist() == [0, 1, 2, 11]


@pytest.mark.parametrize("method", [Pooling(), Merge()])
@patient
@given(drawn=rows(), data=st.data())
def test_pooling_and_merging_put_means_where_their_pieces_begin(method, drawn, data):
    keep = data.draw(st.integers(1, len(drawn)))
    starts, values = method.replace(drawn.seen, drawn.audio, keep)
    if isinstance(method, Pooling):
        expected = Frame().select(drawn.seen, drawn.audio, keep).tolist()
    else:
        expected = references.merge_starts(drawn.seen, drawn.audio, keep)
    assert starts.tolist() == expected
    assert torch.equal(starts, method.select(drawn.seen, drawn.audio, keep))
    means = torch.tensor(references.pooled(drawn.seen, drawn.audio, expected))
    torch.testing.assert_close(values, means, check_dtype=False, atol=1e-6, rtol=1e-5)


def test_what_is_kept_whole_keeps_its_values_to_the_bit():
    drawn = row([(3, 12), (2, 0)])
    half = drawn.seen.hidden.bfloat16()
    seen = replace(drawn.seen, hidden=half)
    for method in (Pooling(), Merge()):
        kept, values = method.replace(seen, drawn.audio, 12)
        assert kept.tolist() == list(range(12))
        assert values.dtype == torch.bfloat16
        assert torch.equal(values, half[drawn.audio])


def test_merge_cuts_where_neighbours_differ():
    drawn = row([(1, 7), (1, 0)])
    a, b = torch.eye(12)[:2]
    drawn.seen.hidden[drawn.audio] = torch.stack([a, 2 * a, a, b, b, b, a])
    kept, values = Merge().replace(drawn.seen, drawn.audio, 3)
    assert kept.tolist() == [0, 3, 6]
    torch.testing.assert_close(values, torch.stack([4 / 3 * a, b, a]))
    # The fourth cut falls between equals: the earliest of them.
    assert Merge().select(drawn.seen, drawn.audio, 4).tolist() == [0, 1, 3, 6]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"audio_pivots": 0}, "pruning.method.audio_pivots=0 must be a whole number of at least 1"),
        ({"text_pivots": -1}, "text_pivots=-1 must be a whole number of at least 0"),
        ({"text_pivots": 2.0}, "text_pivots=2.0"),
        ({"pivot_order": "norm"}, "pivot_order='norm' must be rank or set"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Dart(**settings)
