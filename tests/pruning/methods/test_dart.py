"""DART: pivots, quotas one after another, the published count, and what tops it up."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.pruning.methods.dart import Dart
from tests.pruning.methods import references
from tests.pruning.methods.rows import patient, row, rows


def reference(drawn, keep, **settings):
    return references.dart(drawn.seen, drawn.audio, keep, **settings)


@patient
@given(rows(), st.data())
def test_any_count_equals_the_reference(drawn, data):
    keep = data.draw(st.integers(1, len(drawn)))
    expected = reference(drawn, keep)
    assert Dart().select(drawn.seen, drawn.audio, keep).tolist() == expected


@patient
@given(rows(least_audio=6), st.integers(1, 3), st.integers(0, 2), st.data())
def test_other_numbers_of_pivots_equal_the_reference(drawn, audio_pivots, text_pivots, data):
    keep = data.draw(st.integers(1, len(drawn)))
    expected = reference(drawn, keep, audio_pivots=audio_pivots, text_pivots=text_pivots)
    method = Dart(audio_pivots, text_pivots)
    assert method.select(drawn.seen, drawn.audio, keep).tolist() == expected


@patient
@given(st.integers(0, 2**31), st.integers(5, 25), st.integers(5, 25), st.integers(0, 99))
def test_published_order_and_quota_equal_the_published_steps(seed, first, second, percent):
    # Columns beyond 32 make a set of eight walk out of order.
    drawn = row([(seed % 40, first), (3, second), (6, 0)], seed)
    keep = Dart().count(len(drawn), percent / 100, "floor")
    expected = reference(drawn, keep, as_published=True)
    assert Dart(pivot_order="set").select(drawn.seen, drawn.audio, keep).tolist() == expected


def test_the_order_of_pivots_matters():
    differing = 0
    for seed in range(20):
        drawn = row([(40, 60), (9, 0)], seed)
        ranked, walked = (
            Dart(pivot_order=order).select(drawn.seen, drawn.audio, 36) for order in ("rank", "set")
        )
        differing += not torch.equal(ranked, walked)
    assert differing > 0


@patient
@given(rows(least_audio=8, size=3, whole_numbers=True), st.data())
def test_norms_that_tie_choose_the_earlier_pivot(drawn, data):
    # L1 norms of whole numbers are exact; so are products of these, and they tie often.
    codes = torch.randint(0, 3, (drawn.seen.tokens,), generator=torch.Generator().manual_seed(1))
    drawn.seen.normed[:] = torch.eye(12)[codes]
    keep = data.draw(st.integers(1, len(drawn)))
    assert Dart().select(drawn.seen, drawn.audio, keep).tolist() == reference(drawn, keep)


@patient
@given(st.integers(1, 9000), st.integers(0, 100))
def test_the_published_count(tokens, percent):
    quota = tokens * (100 - percent) // 800
    assert Dart().count(tokens, percent / 100, "floor") == min(tokens, 4 + 8 * quota)


def test_pivots_are_kept_and_duplicates_of_pivots_are_not():
    drawn = row([(2, 20), (5, 0)])
    seen, audio = drawn.seen, drawn.audio
    seen.keys[:, audio[[3, 5, 7, 11]]] += 100
    seen.normed[:] = torch.eye(12)[0]
    seen.normed[audio[[1, 2, 13]]] = torch.eye(12)[1]
    assert Dart().select(seen, audio, 7).tolist() == [1, 2, 3, 5, 7, 11, 13]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_little_or_no_text_after_the_audio_is_no_obstacle(after):
    drawn = row([(5, 40), (after, 0)])
    for order in ("rank", "set"):
        assert len(Dart(pivot_order=order).select(drawn.seen, drawn.audio, 28)) == 28
