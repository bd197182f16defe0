import pandas as pd
import pytest

from lalm_bench.metrics.multiple_choice import INVALID, flatten, summarise


def table(rows, **columns):
    names = ("target", "label", "n_options", "cluster")
    frame = pd.DataFrame(rows, columns=names)
    frame["target_text"] = frame["target"].map({"A": "dog", "B": "cat", "C": "cow"})
    frame["correct"] = (frame["target"] == frame["label"]).astype(float)
    frame["stage"] = frame["label"].notna().map({True: "exact", False: "none"})
    frame["conflict"] = False
    return frame.assign(**columns)


ROWS = [
    ("A", "A", 2, "x"),
    ("A", "B", 2, "x"),
    ("B", "B", 4, "y"),
    ("A", None, 4, "z"),
]


def test_headline_by_hand():
    values = summarise(table(ROWS)).values
    assert values["n"] == 4
    assert values["n_clusters"] == 3
    assert values["accuracy"] == 0.5
    assert values["chance"] == pytest.approx((0.5 + 0.5 + 0.25 + 0.25) / 4)
    assert values["chance_corrected"] == pytest.approx((0.5 - 0.375) / 0.625)
    assert values["invalid_rate"] == 0.25
    assert values["accuracy_valid_only"] == pytest.approx(2 / 3)
    assert values["best_constant_answer"] == 0.75
    assert values["accuracy_balanced"] == pytest.approx((1 / 3 + 1) / 2)
    assert values["answer_entropy_bits"] == pytest.approx(0.8112781)
    assert values["prediction_entropy_bits"] == pytest.approx(1.5)


def test_always_giving_one_text_is_a_constant_answer_too():
    """Always "none" beats every letter when options are shuffled."""
    rows = [(label, "A", 3, i) for i, label in enumerate("ABCABC")]
    frame = table(rows)
    frame["target_text"] = "none"
    best = summarise(frame).analysis["best_constant_answer"]
    assert best == {"by": "text", "answer": "none", "accuracy": 1.0}


def test_confusion_and_distributions_keep_invalid_apart():
    analysis = summarise(table(ROWS)).analysis
    confusion = analysis["confusion"]
    assert confusion["labels"] == ["A", "B", INVALID]
    assert confusion["counts"] == [[1, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert {row["value"]: row["count"] for row in analysis["prediction_distribution"]} == {
        "B": 2,
        "A": 1,
        INVALID: 1,
    }


def test_labels_sort_by_length_then_letter():
    rows = [("AA", "AA", 30, "x"), ("B", "B", 30, "y"), ("Z", "AA", 30, "z")]
    assert summarise(table(rows)).analysis["confusion"]["labels"] == ["B", "Z", "AA"]


def test_breakdowns_sum_to_the_whole():
    frame = table(ROWS, family=["p", "p", "q", "q"], answer_type=["e", "e", "none", "e"])
    analysis = summarise(frame, ("family",)).analysis
    for name in ("family", "target", "n_options", "answer_type"):
        assert sum(row["n"] for row in analysis[f"by_{name}"]) == 4
        assert sum(row["correct"] for row in analysis[f"by_{name}"]) == 2
    assert flatten(analysis, ["family"]) == {"accuracy/family/p": 0.5, "accuracy/family/q": 0.5}


def test_compared_parsers_are_reported_beside_the_headline():
    frame = table(ROWS).assign(**{"correct[seed]": [1.0, 1.0, 1.0, 0.0]})
    assert summarise(frame).values["accuracy[seed]"] == 0.75


def test_nothing_answered_is_no_accuracy():
    assert summarise(table([])).values == {"n": 0, "accuracy": None}
