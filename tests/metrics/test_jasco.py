"""Best-mean, modality dependence, agreement and intervals by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.metrics.jasco import judges_of, scores, summarise

NAN = float("nan")
AUDIO, SPEECH, BOTH, NEITHER = 0.0, 1.0, 2.0, 3.0


def table(rows, judge="j"):
    """Rows of (id, instruction, rating, orientation); None where nothing was judged."""
    frame = pd.DataFrame([r[:2] for r in rows], columns=["id", "instruction"])
    frame["instruction"] = frame["instruction"].astype(float)
    frame[f"rating[{judge}]"] = [NAN if r[2] is None else r[2] for r in rows]
    frame[f"orientation[{judge}]"] = [NAN if r[3] is None else r[3] for r in rows]
    frame[f"malformed[{judge}]"] = [
        NAN if r[2] is r[3] is None else float(NAN in (r[2], r[3])) for r in rows
    ]
    return frame


def test_by_hand():
    """The best of an item is its best instruction, not the best instruction's mean."""
    frame = table(
        [
            ("1", 1, 2, BOTH),
            ("1", 2, 0, BOTH),
            ("2", 1, 2, AUDIO),  # a rating with one modality counts 0
            ("2", 2, 1, BOTH),
            ("3", 1, 1, SPEECH),
            ("3", 2, 0, NEITHER),
        ]
    )
    metrics = summarise(frame)
    values = metrics.values
    assert (values["n"], values["n_answers"]) == (3, 6)
    assert values["best_mean"] == pytest.approx((2 + 1 + 0) / 3)
    assert values["mean_score"] == pytest.approx(3 / 6)
    assert values["audio_dependence"] == pytest.approx(1 / 5)
    assert values["speech_dependence"] == pytest.approx(1 / 5)
    assert values["both_dependence"] == pytest.approx(3 / 5)
    assert values["neither_rate"] == pytest.approx(1 / 6)
    assert (values["malformed_rate"], values["judged_rate"]) == (0, 1)
    assert values["best_mean_bootstrap_low"] <= 1.0 <= values["best_mean_bootstrap_high"]
    assert [(r["value"], r["mean_score"]) for r in metrics.analysis["by_instruction"]] == [
        ("1", pytest.approx(2 / 3)),
        ("2", pytest.approx(1 / 3)),
    ]
    assert metrics.headline[0] == "best_mean"


def test_the_mean_over_judges_is_reported():
    one = table([("1", 1, 2, BOTH), ("2", 1, 2, BOTH)], "one")
    two = table([("1", 1, 1, BOTH), ("2", 1, 0, AUDIO)], "two")
    frame = one.join(two.drop(columns=["id", "instruction"]))
    metrics = summarise(frame)
    values = metrics.values
    assert (values["best_mean[one]"], values["best_mean[two]"]) == (2.0, 0.5)
    assert values["best_mean"] == pytest.approx(1.25)
    assert values["both_dependence"] == pytest.approx((1 + 0.5) / 2)
    assert values["judges_equal_rate_rating"] == 0.0
    assert [r["value"] for r in metrics.analysis["by_judge"]] == ["one", "two"]


def test_unjudged_answers_are_left_out_and_counted():
    frame = table([("1", 1, 2, BOTH), ("1", 2, None, None), ("2", 1, None, None)])
    values = summarise(frame).values
    assert values["best_mean"] == 2.0  # item 2 has no verdict: missing, and not 0
    assert values["judged_rate"] == pytest.approx(1 / 3)


def test_malformed_verdicts_score_nothing_and_are_counted():
    frame = table([("1", 1, NAN, BOTH), ("2", 1, 2, NAN), ("3", 1, 2, BOTH)])
    values = summarise(frame).values
    assert values["best_mean"] == pytest.approx(2 / 3)
    assert values["malformed_rate"] == pytest.approx(2 / 3)
    assert values["both_dependence"] == 1.0


def test_nobody_leaning_anywhere_divides_by_nothing():
    values = summarise(table([("1", 1, 0, NEITHER)])).values
    assert values["audio_dependence"] is None
    assert (values["best_mean"], values["best_mean_bootstrap_low"]) == (0.0, None)


def test_verdicts_on_other_prompts_are_no_verdicts():
    metrics = summarise(table([("1", 1, None, None)]))
    assert metrics.values["best_mean"] is None
    assert "that was asked" in metrics.analysis["not_computed"]["best_mean"]


def test_nothing_answered_is_no_score():
    assert summarise(pd.DataFrame()).values["best_mean"] is None


def test_without_verdicts_there_is_a_reason_and_no_number():
    frame = pd.DataFrame({"id": ["1", "1"], "instruction": [1.0, 2.0]})
    metrics = summarise(frame)
    assert metrics.values["best_mean"] is None
    assert "task.verdicts" in metrics.analysis["not_computed"]["best_mean"]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_scores_and_shares_against_loops(rows):
    rating, orientation = (np.array(column, float) for column in zip(*rows, strict=True))
    assert scores(rating, orientation).tolist() == [r if o == 2 else 0 for r, o in rows]
    leaning = [o for _, o in rows if o != 3]
    found = summarise(table([(str(i), 1, *row) for i, row in enumerate(rows)])).values
    for code, name in enumerate(("audio", "speech", "both")):
        expected = leaning.count(code) / len(leaning) if leaning else None
        assert found[f"{name}_dependence"] == (expected and pytest.approx(expected))


def test_agreement_of_a_panel_by_hand():
    """Ratings (2, 2), (1, 0); codes (both, both), (both, audio)."""
    one = table([("1", 1, 2, BOTH), ("2", 1, 1, BOTH), ("3", 1, NAN, BOTH)], "one")
    two = table([("1", 1, 2, BOTH), ("2", 1, 0, AUDIO), ("3", 1, 1, NAN)], "two")
    frame = one.join(two.drop(columns=["id", "instruction"]))
    assert judges_of(frame) == ["one", "two"]
    metrics = summarise(frame)
    values = metrics.values
    # Quadratic kappa: 1 - mean (0, 1) / (1/4 + 1 + 1/4).
    assert values["judges_kappa_rating"] == pytest.approx(1 - 0.5 / 1.5)
    assert values["judges_equal_rate_rating"] == 0.5
    # Ordinal alpha of 0, 1, 2, 2: distances 0-1: 1, 0-2: (4 - 1.5)^2, 1-2: (3 - 1.5)^2;
    # observed 2 * 1, expected (2 * 1 + 4 * 6.25 + 4 * 2.25) / 3.
    assert values["judges_alpha_rating"] == pytest.approx(1 - 2 / (36 / 3))
    # Nominal: both, both, both, audio: observed 2, expected 6 / 3.
    assert values["judges_alpha_orientation"] == pytest.approx(0.0, abs=1e-12)
    assert values["judges_kappa_orientation"] == pytest.approx(0.0, abs=1e-12)
    assert [(r["field"], r["n"]) for r in metrics.analysis["agreement"]] == [
        ("rating", 2),
        ("orientation", 2),
    ]
    assert "mean_score" in metrics.analysis["best_mean_bias"]


def test_one_judge_agrees_with_nobody():
    metrics = summarise(table([("1", 1, 2, BOTH)]))
    assert not any(name.startswith("judges_") for name in metrics.values)
    assert "agreement" not in metrics.analysis


def test_intervals_hold_items_together_and_cover_each_instruction():
    """Half of the items are always 2, half always 0, under every instruction."""
    rows = [(str(i), k, 2 * (i % 2), BOTH) for i in range(80) for k in range(1, 9)]
    metrics = summarise(table(rows))
    wide = 2 * 1.96 / 80**0.5  # standard error of 80 items of spread 1, not of 640 answers
    for name in ("best_mean", "mean_score"):
        low, high = (metrics.values[f"{name}_bootstrap_{end}"] for end in ("low", "high"))
        assert high - low == pytest.approx(wide, rel=0.1)
    for row in metrics.analysis["by_instruction"]:
        assert row["mean_score"] == 1.0
        assert row["mean_score_high"] - row["mean_score_low"] == pytest.approx(wide, rel=0.1)
    assert metrics.values["both_dependence_bootstrap_low"] == 1.0


def test_a_judge_of_some_items_counts_as_much_as_one_of_all():
    """The published number is the mean over judges, and its interval is of that same number."""
    one = table([(str(i), 1, 2, BOTH) for i in range(10)], "one")
    two = table([(str(i), 1, *((0, BOTH) if i < 2 else (None, None))) for i in range(10)], "two")
    values = summarise(one.join(two.drop(columns=["id", "instruction"]))).values
    assert values["best_mean"] == 1.0
    assert values["best_mean_bootstrap_low"] == 1.0
    assert values["judged_rate"] == pytest.approx(0.6)
