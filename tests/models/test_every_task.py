"""Every task that has a YAML, from its data's published layout to its headline, through ears."""

import json

import pytest
from hydra import compose, initialize_config_dir

from lalm_bench import cli  # noqa: F401 - registers what conf/ interpolates
from lalm_bench.run import run
from tests.conftest import ROOT
from tests.tasks import audiomarathon_layouts, strong_tables, test_clotho, test_mmau, test_mmau_pro
from tests.test_run import record

CONF = ROOT / "conf"
TASKS = sorted(path.stem for path in (CONF / "task").glob("*.yaml"))
# Tasks without options: their headline is no accuracy, and a guesser cannot answer them.
FREE = {"clotho", "grounding", "jasco", "librispeech_long", "mmau_pro"}


def sound(path, seconds=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    return audiomarathon_layouts.clip(path, seconds, rate=16000)


def temporal(folder, shared_data):
    strong_tables.tacos(folder, strong_tables.recordings(30))
    return [f"task.source.root={folder}"]


def questions(folder, name, row, key):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**row, "id": f"u{i}", key: f"./clips/u{i}.wav"} for i in range(3)]
    file.write_text("\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows))
    for i in range(3):
        sound(folder / "clips" / f"u{i}.wav")
    return [f"task.dataset={file}", f"task.audio_root={folder}"]


def mmau_pro(folder, shared_data):
    folder.mkdir()
    path = test_mmau_pro.write(folder / "test.parquet")
    for row in test_mmau_pro.ROWS:
        for clip in row["audio_path"]:
            sound(folder / clip)
    return [f"task.dataset={path}", f"task.audio_root={folder}"]


def clotho(folder, shared_data):
    folder.mkdir()
    test_clotho.write(folder / "clotho_captions_evaluation.csv")
    for row in test_clotho.ROWS:
        sound(folder / "evaluation" / row[0])
    return [f"task.root={folder}"]


def soundscape(folder, shared_data):
    return [f"task.source.root={strong_tables.labelled(folder)}", "task.source.scenes=60"]


def mcq(folder, shared_data):
    sound(folder / "0.wav")
    (folder / "d.jsonl").write_text(record("one", "0.wav") + "\n")
    return [f"task.dataset={folder / 'd.jsonl'}", f"task.audio_root={folder}"]


DATA = {
    "clotho": clotho,
    "jasco": lambda folder, shared_data: [f"task.root={shared_data / 'jasco'}"],
    "mcq": mcq,
    "mcq_synthetic": lambda folder, shared_data: ["task.scenes=2"],
    "mmar": lambda f, shared_data: questions(f, "q.jsonl", test_mmau.MMAR, "audio_path"),
    "mmau": lambda f, shared_data: questions(f, "q.json", test_mmau.MMAU, "audio_id"),
    "mmau_pro": mmau_pro,
    "sakura": lambda folder, shared_data: [f"task.root={shared_data / 'sakura'}"],
    "soundscape": soundscape,
    **dict.fromkeys(
        ("grounding", "mcq_duration", "mcq_order", "mcq_presence", "mcq_relation"), temporal
    ),
}


def overrides(task, folder, request):
    """What points `task` at small data of its published layout."""
    if hasattr(audiomarathon_layouts, task):
        getattr(audiomarathon_layouts, task)(folder)
        return [f"task.root={folder}"]
    real = request.getfixturevalue("shared_data") if task in ("jasco", "sakura") else None
    return DATA[task](folder, real)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_heard_and_guessed(task, tmp_path, checkpoint, request):
    words = [
        *(f"task={task}", "limit=3", "tracking=none", "figures=false", "progress=false"),
        *(f"paths.outputs={tmp_path / 'outputs'}", "generation.max_new_tokens=4"),
        *overrides(task, tmp_path / "data", request),
    ]
    ears = [
        *("model=qwen2_audio", f"model.path={checkpoint('qwen2_audio')}", "model.dtype=float32"),
        *("model.overlong=truncate", "runtime.device=cpu"),
    ]
    for model in [ears] if task in FREE else [ears, ["model=random"]]:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            folder = run(compose("config", [*words, *model]))
        stored = json.loads((tmp_path / "outputs" / folder / "metrics.json").read_text())
        values, headline = stored["metrics"], stored["headline"] or ["accuracy"]
        assert values["n"] > 0
        assert values["n_errors"] == 0
        # JASCO's scores are made of judges' verdicts.
        assert (values[headline[0]] is None) == (task == "jasco")
        if model is ears:
            lines = (tmp_path / "outputs" / folder / "responses.jsonl").read_text().splitlines()
            assert all(json.loads(line)["usage"]["audio_tokens"] > 0 for line in lines)


def test_no_task_lacks_data_here():
    layouts = {task for task in TASKS if hasattr(audiomarathon_layouts, task)}
    assert sorted(layouts | DATA.keys()) == TASKS
