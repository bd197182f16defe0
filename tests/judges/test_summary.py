"""A judged run's numbers by hand: means, shares, intervals, agreement, groups, bias by length."""

import numpy as np
import pandas as pd
import pytest

from lalm_bench.judges.fields import Field
from lalm_bench.judges.summary import level_names, summarise
from lalm_bench.parsing.jasco import parser

NAN = float("nan")
SCORE = Field(name="score", low=1, high=5)
LEAN = Field(name="lean", levels={"Audio": 0, "Both": 2, "Good": 2}, scale="nominal")


def table(said, fields, **columns):
    """`said`: judge -> field -> numbers (None: not judged; NaN: malformed)."""
    n = len(next(iter(next(iter(said.values())).values())))
    rows = {"id": [str(i) for i in range(n)], "text": ["word"] * n} | columns
    rows.setdefault("cluster", rows["id"])
    for judge, given in said.items():
        absent = [all(v[i] is None for v in given.values()) for i in range(n)]
        for name, numbers in given.items():
            rows[f"{name}[{judge}]"] = [NAN if v is None else v for v in numbers]
        rows[f"malformed[{judge}]"] = [
            NAN if absent[i] else float(any(v[i] != v[i] for v in given.values())) for i in range(n)
        ]
    for field in fields:
        together = [
            [v for g in said.values() if (v := g[field.name][i]) is not None and v == v]
            for i in range(n)
        ]
        found = [field.combine(values) for values in together]
        rows[f"judge_{field.name}"] = [NAN if v is None else v for v in found]
    return pd.DataFrame(rows)


def test_two_judges_by_hand():
    said = {
        "a": {"score": [1, 3, NAN, None]},
        "b": {"score": [2, 3, 5, None]},
    }
    frame = table(said, [SCORE], text=["x", "x y", "x y z", "x y z w"])
    metrics = summarise(frame, ["a", "b"], [SCORE], [])
    values = metrics.values
    assert metrics.headline == ("judge_score",)
    assert (values["n"], values["n_answers"], values["n_clusters"]) == (4, 4, 4)
    assert values["judge_score"] == pytest.approx((1.5 + 3 + 5) / 3)
    assert values["judge_n_score"] == 3
    assert values["judge_score[a]"] == 2.0
    assert values["judge_score[b]"] == pytest.approx(10 / 3)
    assert values["judge_malformed_rate"] == pytest.approx((1 / 3 + 0) / 2)
    assert values["judge_judged_rate"] == 0.75
    assert values["judge_score_bootstrap_low"] <= values["judge_score"]
    assert values["judge_equal_rate_score"] == 0.5
    # Pairs (1, 2), (3, 3): variances 1 and 1/4, means apart by 1/2.
    assert values["judge_kappa_score"] == pytest.approx(1 - 0.5 / (1 + 0.25 + 0.25))
    # Ordinal: 1, 2, 3, 3; distances 1, (4 - 1.5)^2, (3 - 1.5)^2 as many as 1, 2, 2 pairs.
    assert values["judge_alpha_score"] == pytest.approx(1 - 2 / ((2 * 1 + 4 * 6.25 + 4 * 2.25) / 3))
    assert values["judge_length_spearman_score"] == pytest.approx(1.0)
    assert metrics.analysis["judge_bias_by_length"] == [
        {"field": "score", "n": 3, "spearman": pytest.approx(1.0)}
    ]
    assert [(r["value"], r["n"], r["malformed_rate"]) for r in metrics.analysis["by_judge"]] == [
        ("a", 3, pytest.approx(1 / 3)),
        ("b", 3, 0.0),
    ]
    assert metrics.analysis["judge_agreement"][0]["judges"] == ["a", "b"]


def test_a_nominal_field_has_shares_and_two_words_for_one_level_are_one():
    frame = table({"a": {"lean": [0, 2, 2, NAN]}}, [LEAN])
    metrics = summarise(frame, ["a"], [LEAN], [])
    assert metrics.headline == ("judge_lean_audio", "judge_lean_both")
    assert metrics.values["judge_lean_audio"] == pytest.approx(1 / 3)
    assert metrics.values["judge_lean_both"] == pytest.approx(2 / 3)
    assert metrics.values["judge_lean_both[a]"] == pytest.approx(2 / 3)
    assert "judge_lean" not in metrics.values
    assert "judge_alpha_lean" not in metrics.values  # one judge agrees with nobody


def test_jascos_fields_have_plain_names():
    rating, orientation = parser().fields
    assert set(level_names(orientation).values()) == {"audio", "speech", "both", "neither"}
    said = {"a": {"rating": [0, 2], "orientation": [3, 2]}}
    metrics = summarise(table(said, [rating, orientation]), ["a"], [rating, orientation], [])
    assert metrics.values["judge_rating"] == 1.0
    assert metrics.values["judge_orientation_neither"] == 0.5


def test_answers_of_one_clip_are_drawn_together():
    score = np.tile([1.0, 5.0], 50)
    alone = table({"a": {"score": score.tolist()}}, [SCORE])
    shared = alone.assign(cluster=np.repeat([str(i) for i in range(20)], 5))
    # Sorted, so that a clip's answers are alike.
    shared = shared.assign(judge_score=np.sort(score))

    def width(frame):
        values = summarise(frame, ["a"], [SCORE], []).values
        return values["judge_score_bootstrap_high"] - values["judge_score_bootstrap_low"]

    assert width(shared) == pytest.approx(5**0.5 * width(alone), rel=0.15)


def test_groups():
    frame = table({"a": {"score": [1, 2, 5]}}, [SCORE], kind=["x", "x", "y"])
    metrics = summarise(frame, ["a"], [SCORE], ["kind", "absent"])
    first, second = metrics.analysis["by_kind"]
    assert (first["value"], first["n"], first["judge_score"]) == ("x", 2, 1.5)
    assert (first["judge_score_low"], first["judge_score_high"]) == (1.0, 2.0)
    assert (second["judge_score"], second["judge_score_low"]) == (5.0, None)
    assert "by_absent" not in metrics.analysis


@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_judged_is_no_number_and_says_why(rows):
    frame = table({"a": {"score": [None, None]}}, [SCORE]).head(rows)
    metrics = summarise(frame, ["a"], [SCORE], [])
    assert metrics.values["judge_score"] is None
    assert metrics.values["n_answers"] == rows
    assert "no judge" in metrics.analysis["not_computed"]["judge_score"]


def test_all_malformed_is_not_unjudged():
    frame = table({"a": {"score": [NAN, NAN]}}, [SCORE])
    values = summarise(frame, ["a"], [SCORE], []).values
    assert (values["judge_score"], values["judge_malformed_rate"]) == (None, 1.0)
    assert values["judge_judged_rate"] == 1.0


def test_lengths_or_numbers_that_do_not_vary_correlate_with_nothing():
    values = summarise(table({"a": {"score": [1, 2]}}, [SCORE]), ["a"], [SCORE], []).values
    assert values["judge_length_spearman_score"] is None
