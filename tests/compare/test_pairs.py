"""What pairing counts, against counting by hand; joins; what cannot be paired."""

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lalm_bench.compare.family import adjust, compare
from lalm_bench.compare.loaded import load
from lalm_bench.errors import DataError
from lalm_bench.stats import mcnemar
from tests.compare.conftest import row, rows

MASK = {"name": "mask", "ratio": 0.5}


def result(baseline, run, **options):
    family = compare(load(baseline), [load(run)], **options)
    adjust([family])
    return family.cells[0].result


def test_counts_by_hand(made):
    """Answer a is right: kept, lost to b, lost to null, null to right, null to wrong, won."""
    before = made("before", rows("aaaa--bb-b"))
    after = made("after", rows("aab-abab-b"), MASK)
    found = result(before, after)
    assert (found.n, found.clusters) == (10, 5)
    assert (found.baseline, found.value) == (0.4, 0.4)
    assert found.delta == pytest.approx(0.0)
    answers = found.answers
    assert answers["right_to_wrong"] == 2
    assert answers["right_to_null"] == 1
    assert answers["wrong_to_right"] == 2
    assert answers["null_to_right"] == 1
    assert answers["null_to_label"] == 2
    assert answers["label_to_null"] == 1
    assert (answers["null_before"], answers["null_after"]) == (3, 2)
    assert answers["n_both_valid"] == 6
    assert answers["consistency"] == pytest.approx(4 / 6)
    assert answers["consistency_all"] == pytest.approx(4 / 10)
    assert found.p_mcnemar == 1.0
    assert {r["value"]: r["n"] for r in found.groups["hop"]} == {"multi": 5, "single": 5}
    assert "target" not in found.groups  # one label alone is no breakdown


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_sums_agree_whatever_the_answers(made, data):
    n = data.draw(st.integers(3, 40))
    text = st.text("abcd-", min_size=n, max_size=n)
    targets = data.draw(st.text("abcd", min_size=n, max_size=n))
    a, b = data.draw(text), data.draw(text)
    found = result(made("x", rows(a, targets)), made("y", rows(b, targets), MASK))
    answers = found.answers
    change = answers["wrong_to_right"] - answers["right_to_wrong"]
    assert found.delta == pytest.approx(change / n)
    assert found.p_mcnemar == mcnemar(answers["right_to_wrong"], answers["wrong_to_right"])
    assert answers["null_after"] - answers["null_before"] == (
        answers["label_to_null"] - answers["null_to_label"]
    )
    for group in found.groups.values():
        assert sum(r["n"] for r in group) == n
        assert sum(r["n"] * r["delta"] for r in group) == pytest.approx(change)
        assert sum(r["right_to_wrong"] for r in group) == answers["right_to_wrong"]


def test_the_order_of_the_files_does_not_matter(made):
    rng = random.Random(0)
    a = rows("".join(rng.choice("ab-") for _ in range(30)))
    b = rows("".join(rng.choice("ab-") for _ in range(30)))
    straight = result(made("a", a), made("b", b, MASK))
    rng.shuffle(b)
    assert result(made("a2", a), made("b2", b, MASK)) == straight


def test_missing_items_are_said_and_left_out(made):
    before = made("before", rows("aaaaaa"))
    after = made("after", rows("abaaaab")[1:], MASK, status="incomplete", errors=1)
    family = compare(load(before), [load(after)])
    found = family.cells[0].result
    assert (found.n, found.missing, found.extra) == (5, 1, 1)
    assert found.baseline == 1.0
    assert family.value == 1.0
    assert any("1 items of the baseline" in n and "1 errors" in n for n in family.cells[0].notes)
    assert any("1 of its items are not in the baseline" in n for n in family.cells[0].notes)


def test_rotations_count_an_item_once(made):
    def asked(shares):
        return [
            row(i, "a" if r < right else "b", variant=f"rotation={r}")
            for i, right in enumerate(shares)
            for r in range(3)
        ]

    found = result(made("x", asked([3, 3, 0, 2])), made("y", asked([3, 1, 0, 3]), MASK))
    assert found.n == 4
    assert found.baseline == pytest.approx((1 + 1 + 0 + 2 / 3) / 4)
    assert found.delta == pytest.approx((-2 / 3 + 1 / 3) / 4)
    assert found.answers["right_to_wrong"] == pytest.approx(2 / 3)
    assert found.answers["n_both_valid"] == 4
    assert found.p_mcnemar is None  # a share is neither right nor wrong
    assert found.test == "exact sign-flip by cluster"


def test_nothing_changed_claims_no_certainty(made):
    found = result(made("x", rows("abab")), made("y", rows("abab"), MASK))
    assert (found.delta, found.low, found.p) == (0.0, None, 1.0)


def test_per_item_means(made):
    def graded(values):
        return [row(i, "a", iou=v) for i, v in enumerate(values)]

    before, after = [0.5, 0.2, 0.9, 1.0], [0.4, 0.2, 0.3, None]
    found = result(made("x", graded(before), headline=["miou"]), made("y", graded(after), MASK))
    assert (found.n, found.without_value) == (3, 1)
    assert found.delta == pytest.approx((-0.1 - 0.6) / 3)
    assert "right_to_wrong" not in found.answers


def test_word_error_rates_are_pooled(made):
    def heard(errors):
        return [
            {**row(i, "text"), "options": {}, "n_options": 0, "errors": e, "words": 10.0 + i}
            for i, e in enumerate(errors)
        ]

    rng = np.random.default_rng(0)
    a = rng.integers(0, 3, 60)
    b = a + rng.integers(0, 4, 60)
    found = result(
        made("x", heard(a.tolist()), headline=["wer"]), made("y", heard(b.tolist()), MASK)
    )
    words = sum(10 + i for i in range(60))
    assert found.delta == pytest.approx((b.sum() - a.sum()) / words)
    assert found.low < found.delta < found.high
    assert found.p < 0.01
    assert found.answers == {}


def test_macro_f1_agrees_with_scikit_learn(made, tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    targets = "".join(rng.choice([*"abcd"], 80))
    folders = []
    for name, share in (("x", 0.9), ("y", 0.4)):
        answers = [t if rng.random() < share else rng.choice([*"abcd"]) for t in targets]
        folders.append(
            (made(name, rows("".join(answers), targets), headline=["macro_f1"]), answers)
        )
        (folders[-1][0] / "analysis.json").write_text(
            '{"classes": [{"class": "a"}, {"class": "b"}, {"class": "c"}, {"class": "d"}]}'
        )
    found = result(folders[0][0], folders[1][0])
    scores = [metrics.f1_score([*targets], a, average="macro") for _, a in folders]
    assert [found.baseline, found.value] == pytest.approx(scores)
    assert found.low < scores[1] - scores[0] < found.high < 0


def test_a_metric_without_per_item_parts_is_refused(made):
    run = made("x", rows("ab"), headline=["best_mean"])
    with pytest.raises(DataError, match=r"best_mean cannot be paired.*--metric from accuracy"):
        compare(load(run), [load(made("y", rows("ab"), MASK))])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"question": "Another one?"}, "question"),
        ({"target": "b"}, "target"),
        ({"options": {"b": "option b", "a": "option a"}}, "options"),
    ],
)
def test_other_items_under_the_same_names_are_refused(made, change, named):
    asked = rows("aaaa")
    other = [*asked[:2], asked[2] | change, asked[3]]
    with pytest.raises(DataError, match=rf"asked something else .* 1 of 4 .*'item2', {named}"):
        result(made("x", asked), made("y", other, MASK))


def test_two_data_sets_have_nothing_in_common(made):
    other = [r | {"id": f"other{i}"} for i, r in enumerate(rows("aa"))]
    with pytest.raises(DataError, match="no item in common"):
        result(made("x", rows("aa")), made("y", other, MASK))


@pytest.mark.parametrize(
    ("settings_", "key", "flag"),
    [
        ({"task__prompt": "Hm? {question}"}, "task.prompt", "--across task.prompt"),
        ({"task__recover": {"rule": "stem"}}, "task.recover.rule", "--across task.recover"),
        ({"task__parser": "loose"}, "task.parser", "--across task.parser"),
        ({"generation__max_new_tokens": 32}, "generation.max_new_tokens", "--across generation"),
        ({"seed": 8}, "seed", "--across seed"),
        ({"limit": 3}, "limit", "--across limit"),
        ({"model": "other"}, "model.weights", "--across model"),
    ],
)
def test_a_difference_is_named_refused_and_can_be_allowed(made, settings_, key, flag):
    baseline, run = made("x", rows("aaab")), made("y", rows("aabb"), **settings_)
    with pytest.raises(DataError) as caught:
        result(baseline, run)
    assert key in str(caught.value)
    assert flag in str(caught.value)
    assert result(baseline, run, across=[flag.removeprefix("--across ")]).n == 4


def test_where_data_lies_is_no_difference(made):
    run = made("y", rows("aabb"), MASK, task__root="elsewhere", task__dataset="d.jsonl")
    assert result(made("x", rows("aaab")), run).n == 4
