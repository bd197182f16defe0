"""Requests that follow from answers: rounds, resume between them, errors on the way.

The intervention and the model are stand-ins that the tests write to a file; everything between
them is the real command line.
"""

import json

import pytest

STAND_INS = '''
import os
from dataclasses import dataclass, replace

from lalm_bench.models.base import ModelBase
from lalm_bench.types import Message, Response, Text


@dataclass(frozen=True)
class TwoSteps:
    """First a chain, then a summary of it, then the answer."""

    name: str = "two_steps"
    stop_after: str = ""

    def apply(self, sample, request, context):
        return replace(request, messages=said(f"think about {sample.id}"), step="chain")

    def follow(self, sample, request, response, context):
        if self.stop_after == request.step:
            return None
        step = {"chain": "summary", "summary": "answer"}[request.step]
        text = f"{step} of <{response.text}> seed {context.seed}"
        return replace(request, messages=said(text), step=step)


def said(text):
    return (Message("user", (Text(text),)),)


@dataclass
class Writer(ModelBase):
    """Writes what it read in capitals; the answer is the item's first option."""

    name: str = "writer"

    def identity(self):
        return {"model": "writer"}

    def answer(self, requests):
        for request in requests:
            text = request.messages[0].parts[0].text
            if os.environ.get("DIE_AT", "no such text") in text:
                os._exit(9)
            if os.environ.get("FAIL_AT", "no such text") in text:
                yield Response(request.key, request.sample_id, "", "error", error="no")
                continue
            final = text.startswith("answer")
            written = request.choices[0].label if final else text.upper()
            yield Response(request.key, request.sample_id, written, variant=request.variant)
'''
RUN = (
    *("intervention._target_=stand_ins.TwoSteps", "intervention.name=two_steps"),
    *("model._target_=stand_ins.Writer", "~model.compat", "model.name=writer", "model=random"),
    *("task.scenes=2", "tracking=none", "figures=false"),
)


@pytest.fixture
def steps(bench, tmp_path):
    (tmp_path / "stand_ins.py").write_text(STAND_INS)
    return lambda *words, check, **env: bench(*RUN, *words, path=(tmp_path,), check=check, env=env)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def only(folders):
    (folder,) = folders.values()
    return folder


def test_each_answer_leads_to_the_next_request_and_the_last_is_scored(steps, run_folders):
    steps(check=0)
    folder = only(run_folders())
    decisions = lines(folder / "decisions.jsonl")
    assert len(decisions) == 14
    for row in decisions:
        chain = f"THINK ABOUT {row['id'].upper()}"
        assert row["steps"]["chain"] == chain
        assert row["steps"]["summary"] == f"SUMMARY OF <{chain}> SEED 7"
        assert row["label"] == next(iter(row["options"]))
    assert len(lines(folder / "responses.jsonl")) == 3 * 14


@pytest.mark.parametrize("place", ["think about", "summary of", "answer of"])
def test_a_kill_at_any_step_loses_nothing_and_asks_nothing_twice(steps, run_folders, place):
    steps(check=0)
    folder = only(run_folders())
    undisturbed = (folder / "decisions.jsonl").read_bytes()
    for name in ("responses.jsonl", "run.json", "decisions.jsonl", "metrics.json"):
        (folder / name).unlink()
    steps(check=9, DIE_AT=place)
    held = len(lines(folder / "responses.jsonl"))
    assert held == {"think about": 0, "summary of": 14, "answer of": 28}[place]
    steps(check=0)
    assert (folder / "decisions.jsonl").read_bytes() == undisturbed
    keys = [r["key"] for r in lines(folder / "responses.jsonl")]
    assert len(keys) == len(set(keys)) == 42


def test_an_error_at_a_step_leaves_its_item_unanswered(steps, run_folders):
    steps(check=0)
    folder = only(run_folders())
    failing, *others = (row["id"] for row in lines(folder / "decisions.jsonl"))
    (folder / "responses.jsonl").unlink()
    place = f"summary of <THINK ABOUT {failing.upper()}>"
    assert (
        f"1 items have no answer ({failing})"
        in steps("rescore=true", check=1, FAIL_AT=place).stderr
    )
    assert [row["id"] for row in lines(folder / "decisions.jsonl")] == others
    steps(check=0)
    assert [row["id"] for row in lines(folder / "decisions.jsonl")] == [failing, *others]


def test_a_step_that_nothing_follows_is_one_clear_line(steps):
    done = steps("+intervention.stop_after=chain", check=2)
    assert done.stderr.splitlines()[-1] == (
        "error: intervention=two_steps: nothing follows its step 'chain'"
    )
