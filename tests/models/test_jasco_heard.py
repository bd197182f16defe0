"""JASCO's real recordings through a tiny checkpoint: eight instructions, one clip."""

import json


def test_an_audio_model_hears_jasco(bench, run_folders, shared_data, checkpoint):
    words = ("task=jasco", f"task.root={shared_data / 'jasco'}", "limit=3", "tracking=none")
    model = ("model=qwen2_audio", f"model.path={checkpoint('qwen2_audio')}", "model.dtype=float32")
    bench(*words, *model, "generation.max_new_tokens=6", "figures=false", check=0)
    (folder,) = run_folders().values()
    answers = [json.loads(line) for line in (folder / "responses.jsonl").read_text().splitlines()]
    assert len({(a["sample_id"], a["variant"]) for a in answers}) == 24
    assert all(a["usage"]["audio_s"] > 1.5 for a in answers)
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert (metrics["n"], metrics["n_answers"], metrics["n_errors"]) == (3, 24, 0)
