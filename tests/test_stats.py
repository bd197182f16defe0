import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.stats import (
    area_weights,
    benjamini_hochberg,
    chance_corrected,
    cluster_mean,
    entropy_bits,
    holm,
    items_needed,
    mcnemar,
    paired_difference,
    sign_flip,
    smallest_difference,
    swap_test,
    wilson,
)

statsmodels = pytest.importorskip("statsmodels.api")
multitest = pytest.importorskip("statsmodels.stats.multitest")


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


# ------------------------------------------------------------------ paired


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_equals_statsmodels(lost, won):
    from statsmodels.stats.contingency_tables import mcnemar as theirs

    found = theirs([[5, lost], [won, 7]], exact=True).pvalue
    assert mcnemar(lost, won) == pytest.approx(min(found, 1.0), rel=1e-9)


def every_sign(sums):
    """P(|sum of +-s| >= |sum of s|), by listing all signs."""
    drawn = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=len(sums))]
    return np.mean(np.array(drawn) >= abs(np.sum(sums)) - 1e-9)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-1, 1)), min_size=1, max_size=20))
def test_the_exact_sign_flip_equals_listing_all_signs(items):
    clusters, differences = zip(*items, strict=True)
    sums = [sum(d for c, d in items if c == name) for name in set(clusters)]
    found = sign_flip(differences, clusters)
    assert found.p == pytest.approx(every_sign(sums))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3)), min_size=1, max_size=12))
def test_shares_of_three_rotations_are_exact_too(items):
    clusters, thirds = zip(*items, strict=True)
    sums = [sum(d / 3 for c, d in items if c == name) for name in set(clusters)]
    found = sign_flip(np.array(thirds) / 3, clusters)
    assert found.p == pytest.approx(every_sign(sums))
    assert "draws" not in found.method


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 30))
def test_with_one_item_a_cluster_the_sign_flip_is_mcnemar(lost, won, same):
    differences = [-1] * lost + [1] * won + [0] * same + [0]
    found = sign_flip(differences, range(len(differences)))
    assert found.p == pytest.approx(mcnemar(lost, won), rel=1e-9)


@pytest.mark.parametrize("size", [3, 8, 11, 17])
def test_drawn_signs_agree_with_all_signs(size):
    values = np.random.default_rng(size).normal(0.3, 1, size)
    exact = every_sign(values)
    found = sign_flip(values, range(size), draws=20_000, seed=1)
    assert "20000 draws, seed 1" in found.method
    assert found.p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 20_000) ** 0.5 + 1e-4)
    assert sign_flip(values, range(size), draws=20_000, seed=1) == found


def test_exchanging_runs_agrees_with_all_exchanges():
    rng = np.random.default_rng(3)
    base = np.array([0, 5])
    first, second = rng.integers(0, 5, (9, 2)) + base, rng.integers(1, 7, (9, 2)) + base

    def rate(sums):
        return sums[:, 0] / sums[:, 1]

    observed = abs(rate(second.sum(0)[None]) - rate(first.sum(0)[None]))
    moved = []
    for swaps in itertools.product((False, True), repeat=9):
        chosen = np.array(swaps)[:, None]
        a, b = np.where(chosen, second, first), np.where(chosen, first, second)
        moved.append(abs(rate(b.sum(0)[None]) - rate(a.sum(0)[None]))[0])
    exact = np.mean(np.array(moved) >= observed - 1e-12)
    found = swap_test(first, second, range(9), rate, draws=20_000)
    assert found.p == pytest.approx(exact, abs=0.015)


def test_the_paired_interval_is_that_of_the_differences():
    a, names = clustered()
    b, _ = clustered(seed=5)
    got, plain = paired_difference(a, b, names), cluster_mean(b - a, names)
    assert got == plain
    with pytest.raises(ValueError, match="no pairs"):
        paired_difference([1, 0], [1], ["a"])


def paired_runs(rng, clusters=50, size=4):
    """Two runs on clips with several questions; the second loses whole clips. True delta -0.15."""
    names = np.repeat(np.arange(clusters), size)
    first = rng.random(len(names)) < 0.75
    lost = (rng.random(clusters) < 0.2)[names]
    return first.astype(float), (first & ~lost).astype(float), names


def test_clustered_intervals_cover_and_plain_ones_do_not():
    """In 1500 simulated experiments a 95 % interval must hold the truth about as often."""
    rng = np.random.default_rng(0)
    held = {"clustered": 0, "plain": 0}
    for _ in range(1500):
        a, b, names = paired_runs(rng)
        for kind, clusters in (("clustered", names), ("plain", np.arange(len(names)))):
            found = paired_difference(a, b, clusters)
            held[kind] += found.low <= -0.15 <= found.high
    assert 0.925 <= held["clustered"] / 1500 <= 0.975
    assert held["plain"] / 1500 < 0.85


def test_the_clustered_test_keeps_its_level_and_mcnemar_does_not():
    """No difference between the runs, but clips flip as a whole."""
    rng = np.random.default_rng(1)
    rejected = {"clustered": 0, "mcnemar": 0}
    for _ in range(1000):
        names = np.repeat(np.arange(40), 4)
        change = np.repeat(rng.integers(-1, 2, 40), 4) * (rng.random(160) < 0.8)
        rejected["clustered"] += sign_flip(change, names).p < 0.05
        rejected["mcnemar"] += mcnemar(int((change < 0).sum()), int((change > 0).sum())) < 0.05
    assert rejected["clustered"] / 1000 < 0.07
    assert rejected["mcnemar"] / 1000 > 0.15


# ------------------------------------------------------------------ families, power, areas


@settings(max_examples=15, deadline=None)  # statsmodels takes 0.1 s
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_corrections_equal_statsmodels(pvalues):
    multipletests = multitest.multipletests
    assert holm(pvalues) == pytest.approx(multipletests(pvalues, method="holm")[1])
    theirs = multipletests(pvalues, method="fdr_bh")[1]
    assert benjamini_hochberg(pvalues) == pytest.approx(theirs)


def test_the_items_that_a_difference_needs_find_it_four_times_in_five():
    """Pilot -> n -> 2000 experiments of that size, with clips of three questions."""
    rng = np.random.default_rng(2)

    def differences(clips, mean):
        clip = rng.normal(0, 0.4, clips)
        return (mean + clip[:, None] + rng.normal(0, 0.5, (clips, 3))).ravel()

    pilot = 30_000
    names = np.repeat(np.arange(pilot), 3)
    stderr = cluster_mean(differences(pilot, 0.0), names).stderr
    n = items_needed(stderr, 3 * pilot, 0.08)
    clips = -(-n // 3)
    names = np.repeat(np.arange(clips), 3)
    found = [cluster_mean(differences(clips, 0.08), names) for _ in range(600)]
    power = np.mean([f.low > 0 or f.high < 0 for f in found])
    assert 0.74 < power < 0.86
    assert smallest_difference(stderr * (pilot / clips) ** 0.5) == pytest.approx(0.08, rel=0.01)


def test_power_has_edges():
    assert items_needed(0.0, 10, 0.1) is None
    with pytest.raises(ValueError, match="difference of 0"):
        items_needed(0.1, 10, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        smallest_difference(0.1, power=1)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=9, unique=True), st.data())
def test_area_weights_are_the_trapezoidal_rule(levels, data):
    levels = sorted(levels)
    if min(np.diff(levels)) < 1e-6:
        return
    values = data.draw(st.lists(st.floats(0, 1), min_size=len(levels), max_size=len(levels)))
    weights = area_weights(levels)
    assert weights.sum() == pytest.approx(1)
    whole = np.trapezoid(values, levels) / (levels[-1] - levels[0])
    assert weights @ values == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("levels", [[1.0], [1.0, 1.0], [2.0, 1.0]])
def test_areas_need_rising_levels(levels):
    with pytest.raises(ValueError, match="rising"):
        area_weights(levels)
