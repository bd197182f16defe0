"""Grounding metrics against counting milliseconds, every pairing, and sed_eval."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.metrics.grounding import (
    COLLARS,
    HEADLINE,
    best_match,
    collar_hits,
    iou,
    item_values,
    set_iou,
    summarise,
)

SPANS = st.tuples(st.integers(0, 60), st.integers(1, 30)).map(lambda p: (p[0] / 10, sum(p) / 10))
LISTS = st.lists(SPANS, min_size=1, max_size=4)


def ticks(spans):
    """The tenths of a second that the spans hold."""
    return {t for a, b in spans for t in range(round(a * 10), round(b * 10))}


@settings(max_examples=300, deadline=None)
@given(LISTS, LISTS)
def test_iou_counts_time(predicted, true):
    ours, theirs = ticks(predicted), ticks(true)
    assert set_iou(predicted, true) == pytest.approx(len(ours & theirs) / len(ours | theirs))
    assert set_iou(predicted, true) == pytest.approx(set_iou(true, predicted))
    assert set_iou(predicted, predicted) == pytest.approx(1)
    first, other = predicted[0], true[0]
    assert iou(first, other) == pytest.approx(set_iou([first], [other]))
    assert iou(first, best_match(first, true)) == max(iou(first, t) for t in true)


def brute_hits(predicted, true, collar):
    """The best of all one-to-one pairings, tried one by one."""

    def agree(p, t):
        length = t[1] - t[0]
        return abs(p[0] - t[0]) <= collar and abs(p[1] - t[1]) <= max(collar, 0.5 * length)

    few, many = sorted((predicted, true), key=len)
    best = 0
    for chosen in itertools.permutations(range(len(many)), len(few)):
        pairs = [(few[i], many[j]) for i, j in enumerate(chosen)]
        hits = [agree(*(p if few is predicted else p[::-1])) for p in pairs]
        best = max(best, sum(hits))
    return best


@settings(max_examples=300, deadline=None)
@given(LISTS, LISTS, st.sampled_from([0.15, 0.25, 0.55]))
def test_collar_hits_are_the_best_pairing(predicted, true, collar):
    assert collar_hits(predicted, true, collar) == brute_hits(predicted, true, collar)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LISTS, LISTS), min_size=1, max_size=6))
def test_collar_f1_is_that_of_sed_eval(items):
    sed_eval = pytest.importorskip(
        "sed_eval",
        reason="sed_eval brings numba and LLVM (232 MB): `pip install sed_eval` runs this; "
        "its recorded values are always compared",
    )
    for collar in COLLARS:
        # Half a millisecond apart from values on a grid, where rounding would decide.
        theirs = sed_eval.sound_event.EventBasedMetrics(
            ["x"], t_collar=collar + 5e-4, percentage_of_length=0.5, event_matching_type="optimal"
        )
        hits = both = 0
        for predicted, true in items:
            rows = [
                [{"event_label": "x", "onset": a, "offset": b, "file": "f"} for a, b in spans]
                for spans in (true, predicted)
            ]
            theirs.evaluate(*rows)
            hits += collar_hits(predicted, true, collar + 5e-4)
            both += len(predicted) + len(true)
        expected = theirs.overall_f_measure()["f_measure"]
        assert 2 * hits / both == pytest.approx(np.nan_to_num(expected))


# F1 that sed_eval 0.2.1 gave for `drawn(0)`, `drawn(1)`, ...: collar 0.2005 s, 0.5005 s.
SED_EVAL = [
    (0.777778, 1.0),
    (0.869565, 0.956522),
    (0.758621, 0.965517),
    (0.833333, 0.916667),
    (0.727273, 0.909091),
    (0.6, 1.0),
    (0.727273, 1.0),
    (0.96, 0.96),
    (0.785714, 0.857143),
    (0.96, 0.96),
    (0.8, 1.0),
    (0.782609, 0.956522),
]


def drawn(seed):
    """Three items as (predicted, true); the generator is written out so that they stay the same."""
    state = seed + 1

    def below(n):
        nonlocal state
        state = state * 48_271 % 2_147_483_647
        return state % n

    true = [
        [(a, a + 1 + below(12)) for a in [below(20) for _ in range(2 + below(5))]] for _ in range(3)
    ]
    near = [
        [(max(0, a + below(7) - 3), b + below(7) - 3) for a, b in spans if below(8)]
        for spans in true
    ]
    return [
        ([(a / 10, max(b, a + 1) / 10) for a, b in p], [(a / 10, b / 10) for a, b in t])
        for p, t in zip(near, true, strict=True)
    ]


@pytest.mark.parametrize(("seed", "expected"), enumerate(SED_EVAL))
def test_collar_f1_is_what_sed_eval_gave(seed, expected):
    items = drawn(seed)
    both = sum(len(predicted) + len(true) for predicted, true in items)
    for collar, theirs in zip(COLLARS, expected, strict=True):
        hits = sum(collar_hits(p, t, collar + 5e-4) for p, t in items)
        assert 2 * hits / both == pytest.approx(theirs, abs=1e-6)


def test_the_first_span_is_the_answer_that_recall_looks_at():
    values = item_values([(8, 9), (0, 2)], [(0, 2), (5, 6)])
    assert values["first_iou"] == 0
    assert (values["onset_error_s"], values["offset_error_s"]) == (3, 3)
    assert values["iou"] == pytest.approx(2 / 4)
    assert values["collar_hits_0.2"] == 1
    assert (values["n_predicted"], values["n_true"]) == (2, 2)


def test_many_guesses_do_not_pay():
    """Spraying spans over the clip raises neither recall nor the IoU of a good single answer."""
    true = [(4.0, 5.0)]
    spray = [(k, k + 1.0) for k in range(10)]
    assert item_values(spray, true)["first_iou"] == 0
    assert item_values(spray, true)["iou"] == pytest.approx(0.1)
    assert item_values([(4.2, 5.2)], true)["iou"] > 0.6


def table(*items):
    rows = []
    for n, (predicted, true) in enumerate(items):
        label = "x" if predicted else None
        values = item_values(predicted, true) | {"whole_clip_iou": np.nan}
        kind = "one" if n % 2 else "two"
        rows.append({"label": label, "cluster": f"c{n}", "stage": "json", "kind": kind, **values})
    return pd.DataFrame(rows)


def test_unparseable_answers_are_wrong_shown_and_never_dropped():
    good = ([(1.0, 2.0)], [(1.0, 2.0)])
    near = ([(1.0, 2.0)], [(1.5, 2.5)])
    bad = ([], [(1.0, 2.0)])
    metrics = summarise(table(good, near, bad, bad), ["kind"])
    values = metrics.values
    assert metrics.headline == HEADLINE
    assert set(HEADLINE) <= values.keys()
    assert values["invalid_rate"] == 0.5
    assert values["miou"] == pytest.approx((1 + 1 / 3) / 4)
    assert values["miou_valid_only"] == pytest.approx((1 + 1 / 3) / 2)
    assert (values["r1_iou_0.3"], values["r1_iou_0.5"], values["r1_iou_0.7"]) == (0.5, 0.25, 0.25)
    # Four true spans, two given, one within 0.2 s; the other is 0.5 s away.
    assert values["collar_f1_0.2"] == pytest.approx(2 / 6)
    assert values["collar_f1_0.5"] == pytest.approx(4 / 6)
    assert (values["onset_error_mean_s"], values["onset_error_median_s"]) == (0.25, 0.25)
    assert values["miou_cluster_low"] < values["miou"] < values["miou_cluster_high"]
    assert values["miou_whole_clip"] is None
    assert [row["n"] for row in metrics.analysis["by_kind"]] == [2, 2]
    assert not any(isinstance(v, float) and np.isnan(v) for v in values.values())


def test_only_unparseable_answers_and_none_at_all():
    values = summarise(table(([], [(0.0, 1.0)]))).values
    assert (values["miou"], values["invalid_rate"], values["collar_f1_0.2"]) == (0, 1, 0)
    assert values["onset_error_mean_s"] is values["miou_valid_only"] is None
    assert summarise(pd.DataFrame()).values == {"n": 0, "miou": None}
