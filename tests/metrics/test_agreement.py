"""Agreement by hand, against Krippendorff's published example, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from lalm_bench.metrics.agreement import (
    agreement,
    alpha,
    equal_rate,
    nominal_kappa,
    weighted_kappa,
)

NAN = float("nan")
# Krippendorff (2011), sections C and D: four observers, twelve units, missing data.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


def by_pairs(ratings, scale):
    """Alpha from its definition, pair by pair, in plain Python."""
    units = [[v for v in unit if v == v] for unit in zip(*ratings, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]
    if len(set(values)) < 2:
        return None

    def distance(a, b):
        if scale == "nominal":
            return float(a != b)
        if scale == "interval":
            return (a - b) ** 2
        low, high = sorted((a, b))
        between = sum(low <= v <= high for v in values)
        return (between - (values.count(a) + values.count(b)) / 2) ** 2

    observed = sum(
        distance(a, b) / (len(unit) - 1)
        for unit in units
        for i, a in enumerate(unit)
        for j, b in enumerate(unit)
        if i != j
    )
    expected = sum(distance(a, b) for a in values for b in values) / (len(values) - 1)
    return 1 - observed / expected


@pytest.mark.parametrize(
    ("scale", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_the_published_example(scale, published):
    assert alpha(PUBLISHED, scale) == pytest.approx(published, abs=5e-4)
    assert alpha(PUBLISHED, scale) == pytest.approx(by_pairs(PUBLISHED, scale))


def test_alpha_by_hand():
    """Two judges, (0, 0), (0, 1), (1, 1): 2 of 6 ordered pairs differ, by chance 18 of 30 do."""
    assert alpha([[0, 0, 1], [0, 1, 1]], "nominal") == pytest.approx(1 - (2 / 6) / (18 / 30))


RATING = st.sampled_from([0.0, 1.0, 2.0, NAN])


@given(
    st.lists(st.tuples(RATING, RATING, RATING), min_size=1, max_size=25),
    st.sampled_from(["nominal", "ordinal", "interval"]),
)
@settings(deadline=None)
def test_alpha_is_its_definition(units, scale):
    ratings = [list(judge) for judge in zip(*units, strict=True)]
    found, expected = alpha(ratings, scale), by_pairs(ratings, scale)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "ratings",
    [
        [[1, 1, 1], [1, 1, 1]],  # no disagreement was possible
        [[1, NAN, 2], [NAN, 2, NAN]],  # no item has two ratings
        [[1, 1, 2], [1, 1, NAN]],  # the only other level cannot be paired
        [[], []],
        [[NAN], [NAN]],
    ],
)
def test_alpha_that_is_not_defined(ratings):
    for scale in ("nominal", "ordinal", "interval"):
        assert alpha(ratings, scale) is None


PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


@given(PAIRS)
@settings(deadline=None)
def test_kappa_is_scikit_learns(pairs):
    a, b = (list(column) for column in zip(*pairs, strict=True))
    for ours, weights in ((weighted_kappa, "quadratic"), (nominal_kappa, None)):
        found = ours([*a, NAN, 1], [*b, 1, NAN])
        if len({*a, *b}) > 1:
            theirs = cohen_kappa_score(a, b, weights=weights, labels=[0, 1, 2])
            assert found == pytest.approx(theirs, abs=1e-12)
        else:
            assert found is None


def test_kappa_between_levels():
    """Differences 0.5, 0, 0.5; variances 2/3 and 1/6, equal means: 1 - (1/6) / (5/6)."""
    assert weighted_kappa([0, 1, 2], [0.5, 1, 1.5]) == pytest.approx(0.8)


def test_nothing_in_common():
    for statistic in (equal_rate, nominal_kappa, weighted_kappa):
        assert statistic([1, NAN], [NAN, 1]) is None


def test_a_panel():
    ratings = {"a": [0, 1, 2, NAN], "b": [0, 1, 1, 2], "c": [0, NAN, NAN, NAN]}
    found = agreement(ratings, "ordinal")
    assert found.alpha == pytest.approx(by_pairs(list(ratings.values()), "ordinal"))
    # a and c, b and c have one item in common, rated alike: kappa is not defined there.
    assert found.kappa == pytest.approx(
        cohen_kappa_score([0, 1, 2], [0, 1, 1], weights="quadratic")
    )
    assert found.equal_rate == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert [(p["judges"], p["n"], p["kappa"]) for p in found.pairs][1:] == [
        (["a", "c"], 1, None),
        (["b", "c"], 1, None),
    ]
    codes = agreement({"a": np.array([0, 1, 3]), "b": np.array([3, 1, 0])}, "nominal")
    assert codes.kappa == pytest.approx(cohen_kappa_score([0, 1, 3], [3, 1, 0]))
