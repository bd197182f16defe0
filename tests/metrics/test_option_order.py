"""Strict accuracy, flips and letter bias against a slow count by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.metrics.multiple_choice import summarise
from lalm_bench.metrics.option_order import add
from lalm_bench.types import Metrics


def circular(items):
    """Decisions of items given as (number of options, right option, places named or None)."""
    rows = []
    for name, (n, right, named) in enumerate(items):
        for k, place in enumerate(named):
            label = None if place is None else "ABCDEFG"[(place + k) % n]
            rows.append(
                {
                    "id": f"i{name}",
                    "target": "ABCDEFG"[right],
                    "target_text": f"text {right}",
                    "label": label,
                    "correct": float(label == "ABCDEFG"[right]),
                    "n_options": n,
                    "cluster": f"c{name}",
                    "stage": "exact",
                    "conflict": False,
                    "position": np.nan if place is None else float(place),
                    "target_position": float((right - k) % n),
                }
            )
    return pd.DataFrame(rows)


def robustness(frame):
    metrics = summarise(frame)
    add(metrics, frame)
    return metrics


def test_always_the_first_place():
    metrics = robustness(circular([(4, r, [0, 0, 0, 0]) for r in range(4)]))
    values = metrics.values
    assert (values["n"], values["n_answers"], values["accuracy"]) == (4, 16, 0.25)
    assert (values["accuracy_strict"], values["flip_rate"]) == (0.0, 1.0)
    assert values["letter_bias"] == pytest.approx(0.75)
    assert values["chance_strict"] == pytest.approx(0.25**4)
    assert metrics.analysis["best_constant_answer"]["accuracy"] == 0.25
    first = metrics.analysis["by_position"][0]
    assert first == {"value": 1, "n": 4, "accuracy": 1.0, "chosen": 1.0, "expected": 0.25}


def test_always_the_right_text():
    items = [(3, r, [(r - k) % 3 for k in range(3)]) for r in range(3)]
    values = robustness(circular(items)).values
    assert (values["accuracy"], values["accuracy_strict"], values["flip_rate"]) == (1.0, 1.0, 0.0)
    assert values["letter_bias"] == pytest.approx(0.0)


def test_always_the_same_wrong_text_does_not_flip():
    items = [(4, 0, [(1 - k) % 4 for k in range(4)])] * 2
    values = robustness(circular(items)).values
    assert (values["accuracy"], values["flip_rate"]) == (0.0, 0.0)
    assert values["letter_bias"] == pytest.approx(0.0)


def test_an_invalid_answer_is_a_flip_and_has_no_place():
    values = robustness(circular([(2, 0, [0, None]), (2, 0, [None, None])])).values
    assert values["flip_rate"] == 0.5
    assert values["invalid_rate"] == 0.75
    assert values["letter_bias"] == pytest.approx(0.5)


def test_items_of_one_order_are_counted():
    frame = circular([(2, 0, [0]), (2, 1, [1, 0])])
    values = robustness(frame).values
    assert (values["n_order_kept"], values["accuracy"], values["accuracy_strict"]) == (1, 1.0, 1.0)


@st.composite
def drawn(draw):
    items = []
    for _ in range(draw(st.integers(1, 12))):
        n = draw(st.integers(2, 5))
        named = draw(
            st.lists(st.none() | st.integers(0, n - 1), min_size=n, max_size=n),
        )
        items.append((n, draw(st.integers(0, n - 1)), named))
    return items


@given(drawn())
@settings(max_examples=80, deadline=None)
def test_against_a_count_by_hand(items):
    frame = circular(items)
    values = robustness(frame).values
    by_item = [part for _, part in frame.groupby("id")]
    means = [part["correct"].mean() for part in by_item]
    assert values["n"] == len(items)
    assert values["accuracy"] == pytest.approx(np.mean(means))
    assert values["accuracy_mean"] == values["accuracy"]
    assert values["accuracy_strict"] == pytest.approx(
        np.mean([set(part["correct"]) == {1.0} for part in by_item])
    )
    assert values["accuracy_strict"] <= values["accuracy"] + 1e-9
    assert values["flip_rate"] == pytest.approx(
        np.mean([len(set(part["label"].fillna("-"))) > 1 for part in by_item])
    )
    assert values["chance"] == pytest.approx(np.mean([1 / n for n, _, _ in items]))
    assert values["best_constant_answer"] is not None
    valid = frame[frame["label"].notna()]
    if len(valid):
        share = {p: (valid["position"] == p).mean() for p in range(5)}
        even = {p: np.mean([1 / n if p < n else 0 for n in valid["n_options"]]) for p in range(5)}
        assert values["letter_bias"] == pytest.approx(
            sum(abs(share[p] - even[p]) for p in share) / 2
        )
    else:
        assert values["letter_bias"] is None


def test_thirds_never_make_more_than_all():
    frame = circular([(3, r % 3, [(r - k) % 3 for k in range(3)]) for r in range(49)])
    assert summarise(frame).values["accuracy_wilson_high"] == 1.0


def test_shuffled_once_reports_bias_alone():
    frame = circular([(2, 0, [0]), (2, 1, [0])])
    metrics = Metrics({"accuracy": 0.5}, {})
    assert add(metrics, frame) == ("letter_bias",)
    assert set(metrics.values) == {"accuracy", "letter_bias"}
