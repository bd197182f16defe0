"""Long recordings through a tiny checkpoint that hears 30 s at a time."""

import json

import pytest

from tests.tasks import audiomarathon_layouts as layouts


@pytest.mark.parametrize("task", ["race", "librispeech_long"])
def test_a_model_hears_all_of_a_long_recording(bench, run_folders, checkpoint, tmp_path, task):
    getattr(layouts, task)(tmp_path / "data")
    bench(
        f"task={task}",
        f"task.root={tmp_path / 'data'}",
        "model=qwen2_audio",
        f"model.path={checkpoint('qwen2_audio')}",
        "model.dtype=float32",
        "model.overlong=chunk",
        "generation.max_new_tokens=4",
        "limit=1",
        "figures=true",
        check=0,
    )
    (folder,) = run_folders().values()
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert metrics["n"] == 1
    assert metrics["n_truncated"] == 0
    answers = [json.loads(x) for x in (folder / "responses.jsonl").read_text().splitlines()]
    assert all(a["usage"]["audio_s"] > 90 for a in answers)
    headline = "wer" if task == "librispeech_long" else "macro_f1"
    assert metrics[headline] is not None
    assert headline in (folder / "results_table.md").read_text()
    assert list((folder / "figures").glob("*_by_duration.png"))
