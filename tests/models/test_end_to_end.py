"""Whole runs on real recordings: tiny random checkpoints, real processors, one command."""

import json

import pytest

QUIET = ("tracking=none", "figures=false")


def decisions(folder):
    return [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("family", ["qwen2_audio", "voxtral", "audio_flamingo_3"])
def test_an_audio_model_hears_sakura(bench, run_folders, shared_data, checkpoint, family):
    words = ("task=sakura", f"task.root={shared_data / 'sakura'}", "limit=12", *QUIET)
    model = (f"model={family}", f"model.path={checkpoint(family)}", "model.dtype=float32")
    bench(*words, *model, "runtime.batch_size=5", check=0)
    (folder,) = run_folders().values()
    rows = decisions(folder)
    assert len(rows) == 12
    assert len({row["text"] for row in rows}) > 1
    answers = (folder / "responses.jsonl").read_text().splitlines()
    usage = [json.loads(line)["usage"] for line in answers]
    assert all(u["audio_s"] > 0.4 and u["input_tokens"] > 20 for u in usage)
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert (values["n_truncated"], values["n_errors"]) == (0, 0)


@pytest.mark.parametrize("mode", ["generate", "letter_likelihood", "option_pmi"])
def test_a_text_model_reads_sakura(bench, run_folders, shared_data, checkpoint, mode):
    words = ("task=sakura", f"task.root={shared_data / 'sakura'}", "task.track=gender", *QUIET)
    model = ("model=text", f"model.path={checkpoint('tiny_llama')}", f"generation.mode={mode}")
    bench(*words, *model, "model.dtype=float32", check=0)
    (folder,) = run_folders().values()
    rows = decisions(folder)
    assert len(rows) == 80
    if mode != "generate":
        assert all(set(row["scores"]) == {"a", "b"} for row in rows)
        assert all(row["label"] == max(row["scores"], key=row["scores"].get) for row in rows)


def test_silence_changes_what_is_heard_and_not_what_is_asked(
    bench, run_folders, shared_data, checkpoint
):
    words = ("task=sakura", f"task.root={shared_data / 'sakura'}", "limit=6", *QUIET)
    model = ("model=qwen2_audio", f"model.path={checkpoint('qwen2_audio')}", "model.dtype=float32")
    for intervention in ("none", "silence"):
        bench(*words, *model, f"intervention={intervention}", check=0)
    heard, silent = (decisions(folder) for folder in run_folders().values())
    assert [r["id"] for r in heard] == [r["id"] for r in silent]
    assert [r["text"] for r in heard] != [r["text"] for r in silent]


def test_a_mode_that_the_model_lacks_is_refused_at_once(bench, checkpoint):
    model = ("model=qwen2_audio", f"model.path={checkpoint('qwen2_audio')}")
    done = bench(*model, "generation.mode=option_pmi", *QUIET, check=2)
    assert "generation.mode=option_pmi" in done.stderr
    assert not bench.outputs.exists()
