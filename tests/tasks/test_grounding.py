"""Grounding as a task: which captions are asked about, and whole runs with fixed answers."""

import json
import time

import pytest

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.tasks.grounding import Grounding
from lalm_bench.tasks.strong_captions import StrongCaptions
from lalm_bench.types import Generation, Response
from tests.tasks.strong_tables import recordings, save, tacos

ROWS = [
    ("a.wav", "A dog barks.", "1.0", "2.0"),
    ("a.wav", "a dog  barks", "5", "6.5"),
    ("a.wav", "Rain.", "0", "7"),
    ("a.wav", "Click.", "3", "3.2"),
    ("b.wav", "A high chirp of birds", "0", "1"),
    ("b.wav", "A high chirp of bird", "2", "3"),
    ("c.wav", "Bell", "0.5", "1.5"),
]


def task(folder, **settings):
    source = StrongCaptions(
        root=str(folder),
        annotations=str(folder / "annotations_strong.csv"),
        audio_root=str(folder / "audio"),
    )
    return Grounding(name="g", prompt="{question}", source=source, **settings)


def test_what_is_asked(tmp_path):
    grounding = task(tacos(tmp_path / "t", ROWS))
    samples = grounding.samples()
    assert [(s.id, s.target, s.cluster) for s in samples] == [
        ("a.wav__0", ((0.0, 7.0),), "a.wav"),
        ("a.wav__1", ((1.0, 2.0), (5.0, 6.5)), "a.wav"),
        ("c.wav__0", ((0.5, 1.5),), "c.wav"),
    ]
    assert samples[1].question == 'When is this event heard in the audio: "A dog barks."?'
    assert samples[1].choices == ()
    assert samples[1].meta["n_regions"] == 2
    assert samples[1].meta["length"] == "1-5 s"
    assert samples[1].meta["clip_s"] == 8.0
    report = grounding.report()
    assert (report["questions"], report["near_duplicate"], report["short"]) == (3, 2, 1)
    single = task(tmp_path / "t", max_spans=1, near_duplicate_ratio=None)
    assert len(single.samples()) == 4
    assert single.report()["max_spans"] == 1


def test_without_recordings_the_words_can_still_be_asked(tmp_path):
    save(tmp_path / "annotations_strong.csv", ROWS)
    grounding = task(tmp_path)
    assert grounding.missing(audio=False) == []
    assert len(grounding.missing(audio=True)) == 1
    assert {s.meta["clip_s"] for s in grounding.samples()} == {None}


def test_bad_input_names_the_recording(tmp_path):
    folder = tacos(tmp_path / "t", ROWS)
    save(folder / "annotations_strong.csv", [("a.wav", "dog", "2", "1")])
    (bad,) = task(folder).samples()
    assert "line 2 (a.wav): '2' to '1' is no span" in bad.fault
    save(folder / "annotations_strong.csv", [("a.wav", "dog", "1", "1.2")])
    with pytest.raises(DataError, match=r"0 questions \(.*short 1"):
        task(folder).samples()
    with pytest.raises(ConfigError, match=r"task\.max_spans=0"):
        task(folder, max_spans=0)


def test_each_answer_is_scored_and_none_is_dropped(tmp_path):
    grounding = task(tacos(tmp_path / "t", ROWS))
    sample = grounding.samples()[1]
    (request,) = grounding.requests(sample, Generation())
    assert request.choices == ()
    assert len(request.clips()) == 1
    answers = ("[1, 2]\n[5, 6.5]", "from 0:01 to 0:02", "I do not know", "")
    scores = [grounding.score(sample, [Response("k", sample.id, a)])[0] for a in answers]
    assert [s.label for s in scores] == ["1-2; 5-6.5", "1-2", None, None]
    assert [s.stage for s in scores] == ["json", "range", "none", "empty"]
    assert [s.invalid for s in scores] == [False, False, True, True]
    assert [s.values["iou"] for s in scores] == [1.0, 0.4, 0.0, 0.0]
    assert all(s.values["whole_clip_iou"] == 2.5 / 8 for s in scores)
    assert len({tuple(s.values) for s in scores}) == 1, "every item has the same columns"


def test_scoring_is_fast(tmp_path):
    grounding = task(tacos(tmp_path / "t", ROWS))
    sample = grounding.samples()[1]
    responses = [
        Response("k", sample.id, text)
        for text in (
            "[1.05, 2.1]\n[5.2, 6.0]",
            "The event is heard from 0:01 to 0:02 and again from 5.1 to 6.4 seconds.",
            "I am sorry, but I cannot tell when the dog barks in this recording.",
        )
    ]
    grounding.score(sample, responses)  # imports what it needs
    began = time.process_time()
    for _ in range(1000):
        grounding.score(sample, responses)
    # 100,000 answers may take 20 s in all; this leaves the pipeline half of it.
    assert time.process_time() - began < 3000 * 1e-4


def answered(bench, tmp_path, run_folders, answers, *words):
    path = tmp_path / "answers.jsonl"
    lines = [json.dumps({"id": i, "output": text}) for i, text in answers.items()]
    path.write_text("\n".join(lines) + "\n")
    model = ("model=predictions", f"model.path={path}", "tracking=none", "figures=false")
    bench("task=grounding", *words, *model, check=0)
    (run,) = run_folders().values()
    return run, json.loads((run / "metrics.json").read_text())["metrics"]


def test_the_task_runs_over_tacos(bench, run_folders, tmp_path):
    folder = tacos(tmp_path / "tacos", recordings(8))
    samples = task(folder).samples()
    answers = {s.id: json.dumps([list(span) for span in s.target]) for s in samples}
    answers[samples[0].id] = "no idea"
    run, values = answered(bench, tmp_path, run_folders, answers, f"task.source.root={folder}")
    n = len(samples)
    assert values["n"] == n > 15
    assert values["invalid_rate"] == pytest.approx(1 / n)
    assert values["miou"] == values["r1_iou_0.7"] == pytest.approx(1 - 1 / n)
    assert values["miou_valid_only"] == 1
    assert 0 < values["miou_whole_clip"] < 0.8
    rows = [json.loads(line) for line in (run / "decisions.jsonl").read_text().splitlines()]
    (lost,) = [row for row in rows if row["invalid"]]
    assert (lost["id"], lost["label"], lost["onset_error_s"]) == (samples[0].id, None, None)
    analysis = json.loads((run / "analysis.json").read_text())
    assert sum(row["n"] for row in analysis["by_n_regions"]) == n


def test_a_bad_recording_is_an_error_of_its_items_and_not_the_end_of_the_run(
    bench, run_folders, tmp_path
):
    folder = tacos(tmp_path / "t", ROWS)
    (folder / "audio" / "c.wav").write_bytes(b"\x89PNG\r\n")
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(json.dumps({"id": f"a.wav__{i}", "output": "1 to 2"}) + "\n" for i in (0, 1))
    )
    model = ("model=predictions", f"model.path={answers}", "tracking=none", "figures=false")
    done = bench("task=grounding", f"task.source.root={folder}", *model, check=1)
    assert "c.wav__0" in done.stderr
    (run,) = run_folders().values()
    values = json.loads((run / "metrics.json").read_text())["metrics"]
    assert (values["n"], values["n_errors"]) == (2, 1)
