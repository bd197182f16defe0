from dataclasses import replace

import orjson

from lalm_bench.identity import Sealer
from lalm_bench.interventions.none import NoIntervention
from lalm_bench.parsing.strict import extract
from lalm_bench.preflight import Plan
from lalm_bench.scoring import delivery, score_run
from lalm_bench.store import ResponseLog
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.types import Choice, Context, Generation, Response, Sample, Score, Skip

CHOICES = (Choice("A", "cat"), Choice("B", "dog"))


class Questions(MultipleChoice):
    def samples(self):
        return [
            Sample(
                f"i{n}", (), f"question {n // 2}?", CHOICES, "A", "c", {"kind": "k"} if n else {}
            )
            for n in range(4)
        ]


class SkipLast(NoIntervention):
    def apply(self, sample, request, context):
        return Skip("too short") if sample.id == "i3" else request


def plan(intervention=None, task=Questions):
    task = task(name="q", prompt="{question}", parser=extract, groups=("kind",))
    made = Plan(
        list(task.samples()),
        task,
        intervention or NoIntervention(),
        Generation(),
        Sealer({"m": 1}, {}, None, False, 7),
        Context(7),
        hears=False,
    )
    made.check()
    return made


def answered(tmp_path, made, responses):
    log = ResponseLog(tmp_path / "r.jsonl")
    for key, text, more in responses:
        log.append(Response(key, "whoever", text, **more))
    return score_run(made, log, tmp_path / "d.jsonl")


def test_equal_questions_share_an_answer_and_keep_their_own_names(tmp_path):
    made = plan()
    keys = [asked[0][0] for asked in made.asked]
    assert keys[0] == keys[1] != keys[2]
    table, unanswered = answered(tmp_path, made, [(keys[0], "A", {}), (keys[2], "B", {})])
    assert unanswered == []
    assert list(table["id"]) == ["i0", "i1", "i2", "i3"]
    assert list(table["correct"]) == [1.0, 1.0, 0.0, 0.0]


def test_errors_are_left_out_by_name(tmp_path):
    made = plan()
    key = made.asked[0][0][0]
    other = made.asked[2][0][0]
    broken = {"finish": "error", "error": "broken"}
    table, unanswered = answered(tmp_path, made, [(key, "A", {}), (other, "", broken)])
    assert list(table["id"]) == ["i0", "i1"]
    assert unanswered == ["i2", "i3"]


def test_skipped_items_are_counted_and_not_asked(tmp_path):
    made = plan(SkipLast())
    assert made.skipped == {"too short": 1}
    table, unanswered = answered(tmp_path, made, [(a[0][0], "A", {}) for a in made.asked if a])
    assert len(table) == 3
    assert unanswered == []


def test_facts_that_only_some_answers_have(tmp_path):
    made = plan()
    cut = {"usage": {"truncated_s": 1.5}, "finish": "length"}
    first, second = made.asked[0][0][0], made.asked[2][0][0]
    table, _ = answered(tmp_path, made, [(first, "A", cut), (second, "A", {})])
    assert delivery(table) == {"length_rate": 0.5, "n_truncated": 2, "truncated_s": 3.0}
    assert list(table["kind"].isna()) == [True, False, False, False]


class Described(Questions):
    """A target that is no label, as captions and time spans are."""

    def samples(self):
        for sample in super().samples():
            yield replace(sample, choices=(), target=("a dog", "a cat"))

    def score(self, sample, responses):
        return [Score(sample.id, r.text, "whole", {"cider_d": 0.5}) for r in responses]


def test_free_text_is_scored_against_any_target(tmp_path):
    made = plan(task=Described)
    table, _ = answered(tmp_path, made, [(a[0][0], "a hound", {}) for a in made.asked])
    assert set(table["target"]) == {("a dog", "a cat")}
    assert set(table["label"]) == {"a hound"}
    row = orjson.loads((tmp_path / "d.jsonl").read_bytes().splitlines()[0])
    assert row["target"] == ["a dog", "a cat"]
    assert row["target_text"] is None
    assert row["n_options"] == 0
