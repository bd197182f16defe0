import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.stats import chance_corrected, cluster_mean, entropy_bits, wilson

statsmodels = pytest.importorskip("statsmodels.api")


@given(st.integers(1, 2000), st.data())
def test_wilson_equals_statsmodels(n, data):
    from statsmodels.stats.proportion import proportion_confint

    k = data.draw(st.integers(0, n))
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-9)
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="successes"):
        wilson(k, n)


def clustered(clusters=40, size=5, seed=0):
    rng = np.random.default_rng(seed)
    names = np.repeat(np.arange(clusters), size)
    rates = rng.beta(0.5, 0.5, clusters)
    return (rng.random(len(names)) < rates[names]).astype(float), names


def test_cluster_error_agrees_with_the_sandwich_estimator():
    scores, names = clustered()
    fit = statsmodels.OLS(scores, np.ones_like(scores)).fit(
        cov_type="cluster", cov_kwds={"groups": names, "use_correction": False}
    )
    ours = cluster_mean(scores, names)
    assert ours.value == pytest.approx(scores.mean())
    # Miller's form adds the small-sample n/(n-1) to the within-item term only.
    assert ours.stderr == pytest.approx(float(fit.bse[0]), rel=0.01)
    assert ours.stderr > cluster_mean(scores, np.arange(len(scores))).stderr * 1.3


def test_cluster_error_by_hand():
    scores, names = np.array([1.0, 1, 0, 1]), ["a", "a", "b", "b"]
    d = scores - 0.75
    se2 = (d @ d) / 3 / 4
    cross = 2 * (d[0] * d[1] + d[2] * d[3]) / 16
    assert cluster_mean(scores, names).stderr == pytest.approx((se2 + cross) ** 0.5)


def test_singletons_give_the_ordinary_error():
    scores = np.array([1.0, 0, 1, 1, 0, 1])
    got = cluster_mean(scores, list("abcdef"))
    assert got.stderr == pytest.approx(scores.std(ddof=1) / 6**0.5)


def test_order_of_items_does_not_matter():
    scores, names = clustered()
    shuffle = np.random.default_rng(1).permutation(len(scores))
    a, b = cluster_mean(scores, names), cluster_mean(scores[shuffle], names[shuffle])
    assert (a.value, a.stderr) == pytest.approx((b.value, b.stderr))


def test_degenerate_inputs():
    assert cluster_mean([], []).value is None
    assert cluster_mean([1.0], ["a"]).low is None
    assert cluster_mean([1.0, 0.0], ["a", "a"]).low is None
    with pytest.raises(ValueError, match="clusters"):
        cluster_mean([1.0], [])


def test_chance_correction_and_entropy():
    assert chance_corrected(0.25, 0.25) == 0
    assert chance_corrected(1.0, 0.25) == 1
    assert chance_corrected(1.0, 1.0) is None
    assert entropy_bits([1, 1, 1, 1]) == 2
    assert entropy_bits([7, 0]) == 0
    assert entropy_bits([]) == 0
