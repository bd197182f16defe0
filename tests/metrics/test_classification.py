import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from lalm_bench.metrics.bootstrap import cluster_interval
from lalm_bench.metrics.classification import (
    confusion,
    f1_by_class,
    macro_f1,
    summarise,
    valid_only,
    weighted_f1,
)

CLASSES = tuple("ABCD")
items = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.sampled_from([*CLASSES, None])), min_size=1, max_size=40
)


@given(items)
@settings(deadline=None, max_examples=300)
def test_as_scikit_learn_has_it(pairs):
    targets, said = zip(*pairs, strict=True)
    counts = confusion(targets, said, CLASSES)
    # To scikit-learn, an invalid answer is one more class that is not averaged.
    named = [label or "INVALID" for label in said]
    options = {"labels": list(CLASSES), "zero_division": 0}
    expected = f1_score(targets, named, average=None, **options)
    assert f1_by_class(counts) == pytest.approx(expected)
    assert float(macro_f1(counts)) == pytest.approx(
        f1_score(targets, named, average="macro", **options)
    )
    assert float(weighted_f1(counts)) == pytest.approx(
        f1_score(targets, named, average="weighted", **options)
    )
    everything = confusion_matrix(targets, named, labels=[*CLASSES, "INVALID"])
    assert counts.tolist() == everything[:-1].tolist()


@given(items)
@settings(deadline=None, max_examples=300)
def test_the_published_values_drop_what_is_invalid(pairs):
    kept = [(t, s) for t, s in pairs if s is not None]
    counts = valid_only(confusion(*zip(*pairs, strict=True), CLASSES))
    assert counts.sum() == len(kept)
    if not kept:
        assert np.isnan(macro_f1(counts, fixed=False))
        assert np.isnan(weighted_f1(counts))
        return
    targets, said = zip(*kept, strict=True)
    for fixed, labels in ((True, list(CLASSES)), (False, None)):
        expected = f1_score(targets, said, labels=labels, average="macro", zero_division=0)
        assert float(macro_f1(counts, fixed)) == pytest.approx(expected)
    expected = f1_score(targets, said, average="weighted", zero_division=0)
    assert float(weighted_f1(counts)) == pytest.approx(expected)


def frame(targets, labels, clusters=None):
    return pd.DataFrame(
        {"target": list(targets), "label": labels, "cluster": clusters or range(len(labels))}
    )


def test_refusing_costs_in_the_headline_and_not_in_the_published_value():
    table = frame("AABB", ["A", None, "B", None])
    values, analysis = summarise(table, "AB", ["A", None, "B", "B"], fixed=True)
    assert values["macro_f1"] == pytest.approx(2 / 3)
    assert values["macro_f1_valid_only"] == 1.0
    assert values["f1[legacy]"] == 1.0
    assert values["invalid_rate[legacy]"] == 0.25
    assert values["macro_f1_all[legacy]"] == pytest.approx((2 / 3 + 1) / 2)
    first = analysis["classes"][0]
    assert first == {
        "class": "A",
        "targets": 2,
        "predictions": 1,
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
    }


def test_always_one_of_two_balanced_classes_scores_a_third():
    values, _ = summarise(frame("AB" * 50, ["A"] * 100), "AB")
    assert values["macro_f1"] == pytest.approx(1 / 3)
    assert "f1[legacy]" not in values


def test_nothing_valid_has_no_valid_only_value():
    values, _ = summarise(frame("AB", [None, None]), "AB", [None, None])
    assert values["macro_f1"] == 0.0
    assert values["f1[legacy]"] is None


def test_a_target_without_a_class_is_a_fault():
    with pytest.raises(ValueError, match="'C' is none of the classes"):
        confusion(["C"], ["A"], "AB")


def test_the_interval_of_a_mean_agrees_with_theory():
    rng = np.random.default_rng(3)
    scores = rng.random(2000) < 0.3
    parts = np.stack([scores, np.ones(2000)], 1)
    low, high = cluster_interval(parts, np.arange(2000), lambda s: s[:, 0] / s[:, 1])
    half = 1.96 * np.sqrt(0.3 * 0.7 / 2000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert low < scores.mean() < high
    assert cluster_interval(parts, np.arange(2000), lambda s: s[:, 0] / s[:, 1]) == (low, high)


def test_shared_clusters_widen_the_interval():
    scores = np.repeat(np.arange(100) % 2, 10).astype(float)
    parts = np.stack([scores, np.ones(1000)], 1)

    def width(clusters):
        low, high = cluster_interval(parts, clusters, lambda s: s[:, 0] / s[:, 1])
        return high - low

    assert width(np.repeat(np.arange(100), 10)) > 2.5 * width(np.arange(1000))
    assert cluster_interval(parts, np.zeros(1000), lambda s: s[:, 0]) == (None, None)
    assert cluster_interval(parts, np.arange(1000), lambda s: s[:, 0] * np.nan) == (None, None)
