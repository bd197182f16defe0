"""Labels of answers: the protocol's own parser, second readings, and what is counted."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from lalm_bench.metrics.multiple_choice import summarise
from lalm_bench.metrics.reasoning import add
from lalm_bench.parsing.recovery import Recovery
from lalm_bench.parsing.strict import extract
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.types import Choice, Response, Sample
from tests.protocols.test_protocols import protocol

CHOICES = (Choice("a", "dog"), Choice("b", "cat"), Choice("c", "cow"))
SAMPLE = Sample("one", (), "Which?", CHOICES, "b", "one")
NULLS = Recovery(rule="stem", when="nulls")
ALL = Recovery(rule="stem", when="all", negation_guard=False)


def task(name=None, recover=None, **more):
    asked = protocol(name)[0] if name else None
    made = MultipleChoice(
        name="t", prompt="{question}", parser=extract, protocol=asked, recover=recover, **more
    )
    made.samples = lambda: [SAMPLE]
    return made


def scored(made, text, earlier=None, **fields):
    answer = Response("key", "one", text, earlier=earlier, **fields)
    (score,) = made.score(SAMPLE, [answer])
    return score


def test_without_protocol_and_recovery_nothing_is_added():
    score = scored(task(), "B")
    assert (score.values, score.facts) == ({"correct": 1.0}, {})


def test_the_protocols_own_parser_reads():
    text = "Nothing fits. A cat purrs"
    assert scored(task(), text).label == "b"
    own = scored(task("af3_reasoning"), text)
    assert (own.label, own.stage) == ("a", "single-letter")


@pytest.mark.parametrize(
    ("recover", "text", "label", "by", "flag"),
    [
        (NULLS, "(b) it is.", "b", None, None),
        (NULLS, "Dogs, cats. I hear how dogs bark", "a", "stem", "recovered"),
        (NULLS, "I cannot tell.", None, None, None),
        (ALL, "B", None, None, "lost"),
        (ALL, "**B** because the dog is not there", "a", "stem", "changed"),
        (ALL, "The answer is (b).", "b", "parenthesised-letter", None),
    ],
)
def test_second_readings(recover, text, label, by, flag):
    score = scored(task(recover=recover), text)
    assert score.label == label
    assert score.invalid == (label is None)
    assert score.facts["recovered_by"] == by
    flags = {f: score.values[f] for f in ("recovered", "changed", "lost")}
    assert flags == {f: float(f == flag) for f in flags}
    first = extract(text, CHOICES)
    assert (score.facts["first_label"], score.facts["first_stage"]) == (first.label, first.stage)
    assert score.values["correct[first pass]"] == float(first.label == "b")
    assert score.values["correct"] == float(label == "b")


def test_compared_options_are_not_read_again():
    score = scored(task(recover=ALL), "B", scores={"a": -1.0, "b": 0.0, "c": -2.0})
    assert (score.label, score.facts["recovered_by"]) == ("b", None)


@pytest.mark.parametrize(
    ("name", "text", "earlier", "reasoning", "missed"),
    [
        ("reasoning", "It purrs.\nAnswer: b", None, "It purrs.", 0.0),
        ("reasoning", "Answer: b", None, "", 1.0),
        ("af3_reasoning", "It purrs. (b)", None, "It purrs.", 0.0),
        ("af3_reasoning", "(b)", None, "", 1.0),
        ("qwen_reasoning", "It purrs, b", None, "It purrs, b", 0.0),
        ("two_turn", "(b)", {"chain": "It purrs. So (b)."}, "It purrs.", 0.0),
        ("two_turn", "(b)", {"chain": "It purrs."}, "", 1.0),
        ("two_turn", "(b)", None, None, math.nan),
    ],
)
def test_reasoning_is_stored_and_missed(name, text, earlier, reasoning, missed):
    score = scored(task(name), text, earlier)
    assert score.label == "b"
    assert score.facts["reasoning"] == reasoning
    assert score.values["missed_reasoning"] == pytest.approx(missed, nan_ok=True)


def test_a_second_reading_follows_the_order_that_was_shown():
    made = task(recover=NULLS, options="circular")
    for order in range(3):
        text = "Dogs, cats. I hear how dogs bark"
        score = scored(made, text, variant=f"rotation={order}" if order else "")
        assert score.label == "a"


def test_counts():
    rows = [
        *(("a", "exact", 1, 0, 0, 0), (None, "none", 0, 0, 0, 1), ("b", "stem", 0, 1, 0, 0)),
        *((None, "refusal", 0, 0, 0, 1), (None, "out-of-range", 0, 0, 1, 0)),
        *((None, "several", 0, 0, 0, math.nan), (None, "empty", 0, 0, 0, 0)),
    ]
    names = ("label", "stage", "correct", "recovered", "lost", "missed_reasoning")
    table = pd.DataFrame(rows, columns=names).assign(
        **{"target": "a", "target_text": "dog", "n_options": 2, "conflict": False},
        **{"cluster": range(7), "correct[first pass]": [1, 0, 0, 0, 1, 0, 0]},
    )
    metrics = summarise(table)
    shown = add(metrics, table)
    values = metrics.values
    assert (values["n_null"], values["n_refusal"], values["n_out_of_range"]) == (3, 1, 1)
    assert (values["n_recovered"], values["n_lost"], values["n_missed_reasoning"]) == (1, 1, 2)
    assert "n_changed" not in values
    assert values["accuracy[first pass]"] == pytest.approx(2 / 7)
    assert shown == (
        *("accuracy[first pass]", "n_null", "n_recovered", "n_lost", "n_missed_reasoning"),
    )
