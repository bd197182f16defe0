"""Eviction scorers equal the formulas that were published."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.errors import ConfigError
from lalm_bench.pruning.methods.expected_attention import ExpectedAttention
from lalm_bench.pruning.methods.keydiff import KeyDiff
from lalm_bench.pruning.methods.knorm import Knorm
from lalm_bench.pruning.methods.ranking import highest
from lalm_bench.pruning.methods.snapkv import SnapKV
from lalm_bench.pruning.methods.streaming import Streaming
from lalm_bench.pruning.methods.tova import Tova
from tests.pruning.methods import references
from tests.pruning.methods.rows import patient, row, rows

REACH = st.sampled_from([None, 1, 4, 9])


def same(scores, expected):
    assert scores.dtype == torch.float32
    expected = torch.tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(scores, expected, atol=1e-6, rtol=1e-4)


@patient
@given(rows())
def test_knorm(drawn):
    same(Knorm().score(drawn.seen), references.knorm(drawn.seen))


@patient
@given(rows())
def test_keydiff(drawn):
    scores = KeyDiff().score(drawn.seen)
    torch.testing.assert_close(
        scores,
        torch.tensor(references.keydiff(drawn.seen)),
        atol=1e-5,
        rtol=1e-4,
        check_dtype=False,
    )


@patient
@given(rows(window=1, reach=REACH))
def test_tova(drawn):
    same(Tova().score(drawn.seen), references.tova(drawn.seen))


@patient
@given(rows(), st.integers(0, 6), st.data())
def test_streaming_keeps_the_first_and_the_latest(drawn, sinks, data):
    tokens = drawn.seen.tokens
    keep = data.draw(st.integers(0, tokens))
    firsts = min(sinks, keep)
    expected = [*range(firsts), *range(tokens - keep + firsts, tokens)]
    scores = Streaming(sinks).score(drawn.seen)
    assert scores.shape == drawn.seen.keys.shape[:2]
    assert all(kept == expected for kept in highest(scores, keep).tolist())


@pytest.mark.parametrize("kernel", [1, 3, 5])
@patient
@given(drawn=rows(window=st.integers(1, 9), reach=REACH))
def test_snapkv(kernel, drawn):
    window = drawn.seen.queries.shape[1]
    scores = SnapKV(window, kernel).score(drawn.seen)
    assert scores.shape == drawn.seen.keys.shape[:2]
    before = drawn.seen.tokens - window
    if before:
        same(scores[:, :before], references.snapkv(drawn.seen, kernel))
        assert scores[:, :before].max() < scores[:, before:].min()
    assert (scores[:, before:].diff() > 0).all()


@pytest.mark.parametrize("covariance", [True, False])
@pytest.mark.parametrize(("value_norm", "epsilon"), [(True, 0.0), (True, 0.02), (False, 0.0)])
@patient
@given(drawn=rows(), positions=st.integers(1, 60), sinks=st.integers(0, 4))
def test_expected_attention(covariance, value_norm, epsilon, drawn, positions, sinks):
    method = ExpectedAttention(positions, sinks, covariance, value_norm, epsilon)
    scores = method.score(drawn.seen)
    if sinks >= drawn.seen.tokens:
        assert torch.equal(scores, torch.full_like(scores, math.inf))
        return
    expected = references.expected_attention(
        drawn.seen, positions, sinks, covariance, value_norm, epsilon
    )
    same(scores, expected)


def test_expected_attention_is_the_attention_of_normal_queries():
    # The scores of normal queries against the mean of exp over those very queries.
    seen = row([(20_000, 0)], groups=1, heads=1, size=4).seen
    queries = seen.queries @ torch.randn(4, 4, generator=torch.Generator().manual_seed(1)) * 0.5
    still = torch.ones(seen.tokens, 4), torch.zeros(seen.tokens, 4)
    queries += torch.tensor([0.3, -0.2, 0.5, 0.0])
    scores = ExpectedAttention(sinks=0, value_norm=False).score(
        replace(seen, queries=queries, rotary=still)
    )
    keys = seen.keys[0, :200]
    told = (queries[0].double() @ keys.double().T * seen.scaling).exp().mean(0)
    ratio = scores[0, :200].double() / told
    torch.testing.assert_close(ratio / ratio.mean(), torch.ones_like(ratio), atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SnapKV(window=0), "pruning.method.window=0 must be a whole number of at least 1"),
        (lambda: SnapKV(kernel=4), "pruning.method.kernel=4 must be odd"),
        (lambda: Streaming(sinks=True), "pruning.method.sinks=True"),
        (lambda: ExpectedAttention(positions=0), "pruning.method.positions=0"),
        (lambda: ExpectedAttention(epsilon=-0.1), "pruning.method.epsilon=-0.1 must be 0 or more"),
        (lambda: ExpectedAttention(epsilon="a"), "pruning.method.epsilon='a' must be a number"),
        (lambda: ExpectedAttention(epsilon=math.nan), "pruning.method.epsilon=nan"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
