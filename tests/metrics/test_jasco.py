"""Best-mean and modality dependence by hand, and kappa against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from lalm_bench.metrics.jasco import dependence, scores, summarise, weighted_kappa

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
    metrics = summarise(frame, ["j"])
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
    metrics = summarise(frame, ["one", "two"])
    values = metrics.values
    assert (values["best_mean[one]"], values["best_mean[two]"]) == (2.0, 0.5)
    assert values["best_mean"] == pytest.approx(1.25)
    assert values["both_dependence"] == pytest.approx((1 + 0.5) / 2)
    assert values["judges_equal_rate"] == 0.0
    assert [r["value"] for r in metrics.analysis["by_judge"]] == ["one", "two"]


def test_unjudged_answers_are_left_out_and_counted():
    frame = table([("1", 1, 2, BOTH), ("1", 2, None, None), ("2", 1, None, None)])
    values = summarise(frame, ["j"]).values
    assert values["best_mean"] == 2.0  # item 2 has no verdict: missing, and not 0
    assert values["judged_rate"] == pytest.approx(1 / 3)


def test_malformed_verdicts_score_nothing_and_are_counted():
    frame = table([("1", 1, NAN, BOTH), ("2", 1, 2, NAN), ("3", 1, 2, BOTH)])
    values = summarise(frame, ["j"]).values
    assert values["best_mean"] == pytest.approx(2 / 3)
    assert values["malformed_rate"] == pytest.approx(2 / 3)
    assert values["both_dependence"] == 1.0


def test_nobody_leaning_anywhere_divides_by_nothing():
    values = summarise(table([("1", 1, 0, NEITHER)]), ["j"]).values
    assert values["audio_dependence"] is None
    assert (values["best_mean"], values["best_mean_bootstrap_low"]) == (0.0, None)


def test_verdicts_on_other_prompts_are_no_verdicts():
    metrics = summarise(table([("1", 1, None, None)]), ["j"])
    assert metrics.values["best_mean"] is None
    assert "that was asked" in metrics.analysis["not_computed"]["best_mean"]


def test_nothing_answered_is_no_score():
    assert summarise(pd.DataFrame(), ["j"]).values["best_mean"] is None


def test_without_verdicts_there_is_a_reason_and_no_number():
    frame = pd.DataFrame({"id": ["1", "1"], "instruction": [1.0, 2.0]})
    metrics = summarise(frame, [])
    assert metrics.values["best_mean"] is None
    assert "task.verdicts" in metrics.analysis["not_computed"]["best_mean"]


RATINGS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=60)


@given(RATINGS)
@settings(max_examples=60, deadline=None)
def test_kappa_agrees_with_scikit_learn(pairs):
    a, b = (list(column) for column in zip(*pairs, strict=True))
    ours = weighted_kappa([*a, NAN, 1], [*b, 1, NAN])
    if len({*a, *b}) > 1:
        theirs = cohen_kappa_score(a, b, weights="quadratic", labels=[0, 1, 2])
        assert ours == pytest.approx(theirs)
    else:
        assert ours is None


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=50))
def test_scores_and_shares_against_loops(rows):
    rating, orientation = (np.array(column, float) for column in zip(*rows, strict=True))
    assert scores(rating, orientation).tolist() == [r if o == 2 else 0 for r, o in rows]
    leaning = [o for _, o in rows if o != 3]
    found = dependence(orientation)
    for code, name in enumerate(("audio", "speech", "both")):
        expected = leaning.count(code) / len(leaning) if leaning else None
        assert found[name] == expected
