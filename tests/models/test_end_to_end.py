"""Whole runs through one command: tiny random checkpoints, real processors, real recordings."""

import json
import signal
import subprocess
import sys
import time

from tests.conftest import ROOT, environment

QUIET = ("tracking=none", "figures=false")
FAMILIES = ("qwen2_audio", "voxtral", "audio_flamingo_3")


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def decisions(folder):
    return rows(folder / "decisions.jsonl")


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def condition(folder, *path):
    """A value of the run's configuration."""
    value = json.loads((folder / "run.json").read_text())["config"]
    for name in path:
        value = value[name]
    return value


def tiny(checkpoint, family):
    """Overrides for the tiny checkpoint of a family."""
    return (f"model={family}", f"model.path={checkpoint(family)}", "model.dtype=float32")


def test_audio_models_hear_sakura(bench, run_folders, shared_data, checkpoint):
    words = ("task=sakura", f"task.root={shared_data / 'sakura'}", "limit=12", *QUIET)
    root = {checkpoint(family).parent for family in FAMILIES}.pop()
    # Hydra first looks at the default model, which has neither setting: hence the ++.
    models = (f"model={','.join(FAMILIES)}", f"++model.path={root}/${{model.name}}")
    bench("-m", *words, *models, "++model.dtype=float32", "runtime.batch_size=5", check=0)
    folders = run_folders().values()
    assert sorted(condition(folder, "model", "name") for folder in folders) == sorted(FAMILIES)
    for folder in folders:
        answers = decisions(folder)
        assert len(answers) == 12
        assert len({row["text"] for row in answers}) > 1
        usage = [row["usage"] for row in rows(folder / "responses.jsonl")]
        assert all(u["audio_s"] > 0.4 and u["input_tokens"] > u["audio_tokens"] > 8 for u in usage)
        values, timing = metrics(folder)["metrics"], metrics(folder)["timing"]
        assert (values["n_truncated"], values["n_errors"]) == (0, 0)
        assert (timing["requests"], timing["out_of_memory"]) == (12, 0)
        assert timing["largest_batch"] == 5
        assert 0 <= timing["idle_share"] <= 1


def test_a_text_model_reads_sakura_in_every_mode(bench, run_folders, shared_data, checkpoint):
    words = ("task=sakura", f"task.root={shared_data / 'sakura'}", "task.track=gender", *QUIET)
    model = ("model=text", f"model.path={checkpoint('tiny_llama')}", "model.dtype=float32")
    modes = ("generate", "letter_likelihood", "option_pmi")
    bench("-m", *words, *model, f"generation.mode={','.join(modes)}", check=0)
    found = {condition(folder, "generation", "mode"): folder for folder in run_folders().values()}
    assert sorted(found) == sorted(modes)
    for mode, folder in found.items():
        answers = decisions(folder)
        assert len(answers) == 80
        if mode != "generate":
            assert all(set(row["scores"]) == {"a", "b"} for row in answers)
            assert all(row["label"] == max(row["scores"], key=row["scores"].get) for row in answers)


def test_silence_changes_what_is_heard_and_not_what_is_asked(
    bench, run_folders, shared_data, checkpoint
):
    words = ("task=sakura", f"task.root={shared_data / 'sakura'}", "limit=6", *QUIET)
    model = tiny(checkpoint, "qwen2_audio")
    bench("-m", *words, *model, "intervention=none,silence", check=0)
    heard, silent = (decisions(folder) for folder in run_folders().values())
    assert [r["id"] for r in heard] == [r["id"] for r in silent]
    assert [r["text"] for r in heard] != [r["text"] for r in silent]


def test_a_sweep_over_answers_encodes_each_clip_once(bench, run_folders, checkpoint, tmp_path):
    words = ("task.scenes=2", *QUIET, *tiny(checkpoint, "qwen2_audio"))
    modes = "generation.mode=generate,letter_likelihood"
    bench("-m", *words, modes, f"runtime.audio_cache={tmp_path / 'audio'}", check=0)
    timing = [metrics(folder)["timing"] for folder in run_folders().values()]
    clips = len({row["id"].split("_q")[0] for row in decisions(next(iter(run_folders().values())))})
    asked = [t["audio_asked"] for t in timing]
    assert asked == [14, 14]
    encoded = sorted(t["audio_encoded"] for t in timing)
    files = len(list((tmp_path / "audio").rglob("*.safetensors")))
    assert encoded == [0, files]
    assert 1 < files <= clips


def test_a_mode_that_the_model_lacks_is_refused_at_once(bench, checkpoint):
    model = ("model=qwen2_audio", f"model.path={checkpoint('qwen2_audio')}")
    done = bench(*model, "generation.mode=option_pmi", *QUIET, check=2)
    assert "generation.mode=option_pmi" in done.stderr
    assert not bench.outputs.exists()


# The command itself, and beside it a note of every batch that was answered.
NOTING = """
import os, sys
from lalm_bench import cli
from lalm_bench.engine.resident import Answers
finish = Answers.finish
def noted(self):
    responses = finish(self)
    os.write(log, f"{len(responses)}\\n".encode())
    return responses
Answers.finish = noted
log = os.open("batches.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
cli.main()
"""


def test_kill_in_the_middle_costs_the_batch_in_flight(bench, run_folders, tmp_path, checkpoint):
    """kill -9 while answers arrive; the next start asks what was not answered, and nothing else."""
    words = (*QUIET, *tiny(checkpoint, "qwen2_audio"), "task.scenes=6", "runtime.batch_size=4")
    process = subprocess.Popen(
        [sys.executable, "-c", NOTING, *words, f"paths.outputs={bench.outputs}"],
        cwd=tmp_path,
        env=environment(ROOT),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 90
    while sum(p.read_bytes().count(b"\n") for p in bench.outputs.rglob("responses.jsonl")) < 12:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no answers in time"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder,) = run_folders().values()
    kept = rows(folder / "responses.jsonl")
    assert 12 <= len(kept) < 42, "the kill came too late to test anything"
    batches = [int(size) for size in (tmp_path / "batches.log").read_text().split()]
    assert batches == [4] * len(batches)
    assert sum(batches) - 4 <= len(kept) <= sum(batches), "all but the last batch is on disk"
    assert not (folder / "metrics.json").exists()

    bench(*words, check=0)
    after = rows(folder / "responses.jsonl")
    assert after[: len(kept)] == kept
    assert len(after) == len({row["key"] for row in after}) == 42
    assert all(row["finish"] != "error" for row in after)
    timing = metrics(folder)["timing"]
    assert timing["requests"] == timing["audio_asked"] == 42 - len(kept)
