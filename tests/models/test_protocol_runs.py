"""Protocols and second readings in whole runs: SAKURA's recordings, tiny models."""

from __future__ import annotations

import json

import pytest
from hydra import compose, initialize_config_dir

from lalm_bench import cli  # noqa: F401 - registers what conf/ interpolates
from lalm_bench.run import run
from tests.conftest import ROOT
from tests.models.test_every_task import FREE, TASKS, overrides
from tests.protocols.test_protocols import NAMES, REASONING
from tests.test_run import record, rows

QUIET = ("tracking=none", "figures=false", "progress=false")


@pytest.fixture
def sakura(tmp_path, shared_data, checkpoint):
    """`sakura(model, *overrides)`: the finished run's folder; 6 items, answers of 24 tokens."""

    def start(model, *overrides):
        words = [
            *("task=sakura", f"task.root={shared_data / 'sakura'}", "limit=6", *QUIET),
            *(f"paths.outputs={tmp_path / 'outputs'}", "runtime.device=cpu"),
            *overrides,
        ]
        if model == "random":
            words += ["model=random"]
        else:
            name = {"tiny_llama": "text"}.get(model, model)
            words += [f"model={name}", f"model.path={checkpoint(model)}", "model.dtype=float32"]
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return tmp_path / "outputs" / run(compose("config", words))

    return start


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


@pytest.mark.parametrize("model", ["qwen2_audio", "voxtral", "tiny_llama"])
@pytest.mark.parametrize("name", NAMES)
def test_every_protocol_runs(sakura, name, model):
    folder = sakura(model, f"protocol={name}", "recover=nulls", "generation.max_new_tokens=24")
    values, decisions = metrics(folder), rows(folder / "decisions.jsonl")
    assert (values["n"], values["n_errors"]) == (6, 0)
    assert len(decisions) == 6
    invalid = sum(d["label"] is None for d in decisions)
    assert values["n_null"] + values["n_refusal"] + values["n_out_of_range"] == invalid
    assert values["accuracy"] - values["accuracy[first pass]"] <= values["n_recovered"] / 6
    assert (values["n_changed"], values["n_lost"]) == (0, 0)
    asked = len(rows(folder / "responses.jsonl"))
    if name in REASONING:
        missed = [d["id"] for d in decisions if not d["reasoning"]]
        assert values["n_missed_reasoning"] == len(missed)
    else:
        assert "n_missed_reasoning" not in values
        assert all("reasoning" not in d for d in decisions)
    if name == "two_turn":
        assert asked == 12
        assert all(set(d["steps"]) == {"chain"} for d in decisions)
        assert all(d["reasoning"] in d["steps"]["chain"] for d in decisions)
    else:
        assert asked == 6


def test_two_turns_continue_where_they_stopped(sakura):
    words = ("qwen2_audio", "protocol=two_turn", "generation.max_new_tokens=24")
    folder = sakura(*words)
    before = rows(folder / "decisions.jsonl")
    log = folder / "responses.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    # All chains, and two of the answers.
    log.write_bytes(b"".join(lines[:8]))
    (folder / "metrics.json").unlink()
    assert sakura(*words) == folder
    assert rows(folder / "decisions.jsonl") == before
    assert len(rows(log)) == 12


def test_an_edit_is_heard_in_both_turns(sakura):
    words = ("qwen2_audio", "protocol=two_turn", "generation.max_new_tokens=24")
    plain, silent = sakura(*words), sakura(*words, "intervention=silence")
    chains = [
        [d["steps"]["chain"] for d in rows(folder / "decisions.jsonl")]
        for folder in (plain, silent)
    ]
    assert chains[0] != chains[1]
    heard = [r["usage"]["audio_s"] for r in rows(silent / "responses.jsonl")]
    assert len(heard) == 12
    assert min(heard) > 0


def test_recovery_scores_a_finished_run_again_and_asks_nothing(sakura):
    words = ("tiny_llama", "protocol=af3_reasoning", "generation.max_new_tokens=24")
    folder = sakura(*words)
    answers = (folder / "responses.jsonl").read_bytes()
    assert sakura(*words, "recover=all", "task.recover.rule=overlap") == folder
    assert (folder / "responses.jsonl").read_bytes() == answers
    decisions, values = rows(folder / "decisions.jsonl"), metrics(folder)
    for d in decisions:
        assert d["recovered_by"] == (None if d["label"] is None else d["stage"])
        before, after = d["first_label"], d["label"]
        kind = "recovered" if before is None else "lost" if after is None else "changed"
        assert d[kind] == float(before != after)
    assert values["n_lost"] == sum(d["lost"] for d in decisions) > 0


def test_labels_shown_as_capitals_are_compared_and_scored(sakura):
    words = ("generation.mode=letter_likelihood", "recover=all")
    folder = sakura("tiny_llama", "protocol=af3_direct", *words)
    decisions = rows(folder / "decisions.jsonl")
    assert all(d["text"] in "ABCD" and d["label"] == d["text"].lower() for d in decisions)
    assert all(d["recovered_by"] is None for d in decisions)
    assert metrics(folder)["n_null"] == 0


def test_orders_of_options_and_protocols_go_together(sakura):
    folder = sakura("random", "protocol=direct", "task.options=circular", "task.track=gender")
    decisions = rows(folder / "decisions.jsonl")
    assert len(decisions) == 12
    assert metrics(folder)["n_null"] == 0


@pytest.mark.parametrize(
    ("task", "setting"), [("clotho", "protocol=two_turn"), ("jasco", "recover=nulls")]
)
def test_only_multiple_choice_takes_them(bench, task, setting):
    done = bench(f"task={task}", setting, "model=random", *QUIET, check=2)
    assert len(done.stderr.strip().splitlines()) == 1
    assert setting.split("=")[0] in done.stderr
    assert not bench.outputs.exists()


def test_reasoning_cannot_be_had_by_likelihood(bench, checkpoint):
    model = ("model=text", f"model.path={checkpoint('tiny_llama')}")
    words = ("protocol=reasoning", "generation.mode=letter_likelihood", "task.scenes=2", *QUIET)
    done = bench(*words, *model, check=2)
    (line,) = done.stderr.strip().splitlines()
    assert "generates no reasoning; set protocol=direct or none" in line
    assert not bench.outputs.exists()


def test_every_task_of_options_takes_a_protocol(bench, tmp_path, wav, run_folders):
    wav("audio/0.wav")
    (tmp_path / "d.jsonl").write_text(record("one", "0.wav") + "\n")
    words = ("task=mcq", f"task.dataset={tmp_path / 'd.jsonl'}", "model=random", *QUIET)
    audio = f"task.audio_root={tmp_path / 'audio'}"
    for setting in ("protocol=none", "protocol=direct", "recover=nulls"):
        bench(*words, audio, setting, check=0)
    # What only scores makes no run of its own.
    assert len(run_folders()) == 2


@pytest.mark.parametrize("task", sorted({*TASKS} - FREE | {"mmau_pro"}))
def test_every_task_of_options_is_asked_in_two_turns(task, tmp_path, checkpoint, request):
    words = [
        *(f"task={task}", "limit=3", *QUIET, "protocol=two_turn", "recover=nulls"),
        *(f"paths.outputs={tmp_path / 'outputs'}", "generation.max_new_tokens=4"),
        *("model=qwen2_audio", f"model.path={checkpoint('qwen2_audio')}", "model.dtype=float32"),
        *("model.overlong=truncate", "runtime.device=cpu"),
        *overrides(task, tmp_path / "data", request),
    ]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        folder = tmp_path / "outputs" / run(compose("config", words))
    values, decisions = metrics(folder), rows(folder / "decisions.jsonl")
    assert values["n_errors"] == 0
    assert {"n_null", "n_recovered", "n_missed_reasoning"} <= values.keys()
    closed = [d for d in decisions if d["options"]]
    assert closed or task == "mmau_pro"
    assert all(set(d["steps"]) == {"chain"} for d in closed)
    assert all("steps" not in d for d in decisions if not d["options"])
