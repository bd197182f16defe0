"""The report as files: what it says of real runs, what it keeps apart, and what it refuses."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from lalm_bench import audio
from lalm_bench.compare.loaded import load
from lalm_bench.interventions.mask import MaskEdit
from lalm_bench.randomness import derive
from lalm_bench.report import columns, sources
from lalm_bench.report.__main__ import main
from lalm_bench.report.columns import (
    LOST_LABEL,
    OTHER_ANSWER,
    RIGHT_TO_WRONG,
    WRONG_TO_RIGHT,
    Before,
)
from lalm_bench.report.verdicts import Verdicts
from lalm_bench.tasks.synthetic.clip import SceneClip
from lalm_bench.types import AudioRef, AudioSource
from tests.conftest import ROOT, environment
from tests.report.conftest import command, keys, read
from tests.tasks.strong_tables import tacos


def decisions(run):
    return [json.loads(line) for line in (run / "decisions.jsonl").read_text().splitlines()]


def test_columns_count_what_the_decisions_say(report, runs):
    before = {row["id"]: row for row in decisions(runs["none"])}
    for name, key in keys(report).items():
        rows = decisions(runs["none" if name == "baseline" else name])
        listed = read(report, key)
        assert listed["id"] == [row["id"] for row in rows]
        wanted = [0 if r["correct"] else 2 if r["invalid"] else 1 for r in rows]
        assert listed["status"] == wanted
        family = listed["groups"]["family"]
        assert [family["words"][at] for at in family["at"]] == [r["family"] for r in rows]
        if name == "baseline":
            assert listed["change"] is None
            continue
        for row, change in zip(rows, listed["change"], strict=True):
            earlier = before[row["id"]]
            assert bool(change & 2) == bool(earlier["correct"] and not row["correct"])
            assert bool(change & 8) == (row["label"] is None and earlier["label"] is not None)
            assert bool(change & 1) == (row["label"] != earlier["label"])
    assert any(change & 2 for change in read(report, keys(report)["mask"])["change"])


def test_a_record_holds_prompt_answer_baseline_and_timing(report, runs):
    record = read(report, f"{keys(report)['mask']}-0")[0]
    row = decisions(runs["mask"])[0]
    assert record["text"] == row["text"]
    assert record["before"]["right"] is True
    assert record["timing"]["listen"] > 0
    (turn,) = record["prompt"]
    assert "Choose exactly one option." in turn["parts"][-1]["text"]
    assert all(text in turn["parts"][-1]["text"] for text in row["options"].values())


def test_the_leaderboard_says_what_the_runs_say(report, runs):
    with open(report / "tables" / "leaderboard_mcq_synthetic.csv", newline="") as file:
        rows = {
            row["condition"].partition("_")[0]: row
            for row in csv.DictReader(file)
            if "ratio=" not in row["condition"] or "ratio=0.5" in row["condition"]
        }
    for name, row in rows.items():
        run = runs["none" if name == "baseline" else name]
        metrics = json.loads((run / "metrics.json").read_text())["metrics"]
        for value in ("accuracy", "chance", "best_constant_answer", "invalid_rate"):
            assert float(row[value]) == metrics[value], (name, value)
    assert float(rows["mask"]["delta"]) == pytest.approx(
        float(rows["mask"]["accuracy"]) - float(rows["baseline"]["accuracy"])
    )
    # No interval without width, and the gain is over the control that hears nothing.
    assert float(rows["baseline"]["accuracy_low"]) < 1
    assert rows["baseline"]["gain_control"] == "silence"
    gain = float(rows["baseline"]["accuracy"]) - float(rows["silence"]["accuracy"])
    assert float(rows["baseline"]["gain_gain"]) == pytest.approx(gain)


def test_published_numbers_stand_beside_the_same_value_of_each_run(report, runs):
    with open(report / "tables" / "published_mcq_synthetic.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    analysis = json.loads((runs["mask"] / "analysis.json").read_text())
    own = {f"accuracy/family/{r['value']}": r["accuracy"] for r in analysis["by_family"]}
    column = "mask ratio=0.5"
    assert {row["value"] for row in rows} <= own.keys()
    for row in rows:
        assert float(row[column]) == pytest.approx(own[row["value"]], abs=5e-5)


def test_a_clip_sounds_as_the_model_heard_it(report, runs):
    key = keys(report)["mask"]
    listed, records = read(report, key), read(report, f"{key}-0")
    assert 0 < len(listed["clips"]) < 42
    config = json.loads((runs["mask"] / "run.json").read_text())["config"]
    for place in listed["clips"]:
        name = listed["id"][place]
        family, _, number = name.removeprefix("synth_").rpartition("_easy_")
        clip = SceneClip(family, "easy", int(number) - 1, config["task"]["seed"], False)
        seed = derive(config["seed"], name, "mask", "0")
        edit = MaskEdit(config["intervention"]["ratio"], 0.25, seed)
        heard = audio.render(AudioSource(clip, (edit,)), 16_000)
        (shown,) = records[place]["clips"]
        wave, rate = soundfile.read(report / shown["heard"]["src"], dtype="float32")
        assert rate == 16_000
        assert np.abs(wave - heard).max() <= 2**-15
        assert shown["heard"]["seconds"] == len(heard) / rate
        plain, _ = soundfile.read(report / shown["original"]["src"], dtype="float32")
        assert np.abs(plain - audio.render(AudioSource(clip), 16_000)).max() <= 2**-15
        # The stretches that are marked are those that were masked, to a sample.
        marked = np.zeros(len(heard), bool)
        for mark in shown["marks"]:
            marked[round(mark["start"] * rate) : round(mark["end"] * rate)] = True
        chosen = edit.chosen(len(heard), rate, np.random.default_rng(seed))
        assert (marked != chosen).sum() <= 2 * len(shown["marks"])
        sounds = [(e.onset, e.offset) for e in clip.scene().events]
        events = [e for e in shown["events"] if e["kind"] == "event"]
        assert [(e["start"], e["end"]) for e in events] == sounds


def test_flipped_answers_are_rendered_first(report):
    key = keys(report)["mask"]
    listed = read(report, key)
    flipped = [i for i, change in enumerate(listed["change"]) if change & 6]
    kept = len(listed["clips"])
    assert len(set(listed["clips"]) & set(flipped)) == min(kept, len(flipped))


def test_all_or_none(runs, tmp_path):
    for clips, count in (("none", 0), ("5", 5), ("all", 42)):
        folder = tmp_path / clips
        assert main([str(runs["mask"]), "--out", str(folder), "--clips", clips]) == 0
        key = keys(folder)["mask"]
        # The baseline is found beside the run, and takes its share.
        shares = [len(read(folder, k)["clips"]) for k in keys(folder).values()]
        assert len(shares) == 2
        assert sum(shares) == (84 if clips == "all" else count)
        assert clips != "all" or read(folder, key)["clips"] == list(range(42))
    assert not (tmp_path / "none" / "clips").exists()


def test_the_same_report_twice(runs, tmp_path):
    for name in ("a", "b"):
        assert main([str(runs["noise"]), "--out", str(tmp_path / name), "--clips", "3"]) == 0
    a, b = (
        {p.relative_to(d): p.read_bytes() for p in d.rglob("*.*") if p.is_file()}
        for d in (tmp_path / "a", tmp_path / "b")
    )
    assert a.keys() == b.keys()
    differing = {str(name) for name in a if a[name] != b[name]}
    # The time at which they were made.
    assert differing <= {"report.json", "data/index.js", "report.html"}


@pytest.fixture(scope="module")
def grounded(tmp_path_factory):
    """A run of grounding with given answers: two on recordings, one of them unreadable text."""
    folder = tmp_path_factory.mktemp("grounded")
    tacos(folder / "set", [("a b#1.wav", "Rain.", "0", "7"), ("c.wav", "Bell", "0.5", "1.5")])
    (folder / "answers.csv").write_text('id,output\na b#1.wav__0,"[1.0, 6.0]"\nc.wav__0,never\n')
    command(
        folder,
        *("task=grounding", f"task.source.root={folder / 'set'}", "model=predictions"),
        f"model.path={folder / 'answers.csv'}",
    )
    return next(folder.glob("outputs/*/*/*/*/run.json")).parent


def test_true_and_predicted_spans_and_a_recording_by_reference(grounded, tmp_path):
    folder = tmp_path / "out" / "report"
    assert main([str(grounded), "--out", str(folder)]) == 0
    first, second = read(folder, "r0-0")
    (clip,) = first["clips"]
    kinds = {(m["kind"], m["start"], m["end"]) for m in clip["events"]}
    assert kinds == {("event", 0, 7), ("true", 0, 7), ("predicted", 1, 6)}
    assert {m["kind"] for m in second["clips"][0]["events"]} == {"event", "true"}
    assert "%20" in clip["file"]["src"]  # a URL, and none that ends at the #
    assert "%23" in clip["file"]["src"]
    from urllib.parse import unquote

    found = (folder / unquote(clip["file"]["src"])).resolve()
    assert found.name == "a b#1.wav"
    assert found.is_file()
    assert read(folder, "r0")["value_name"] == "iou"


def test_copied_recordings_go_with_the_folder(grounded, tmp_path):
    folder = tmp_path / "report"
    assert main([str(grounded), "--out", str(folder), "--copy-audio", "--clips", "none"]) == 0
    for record in read(folder, "r0-0"):
        source = record["clips"][0]["file"]["src"]
        assert source.startswith("audio/")
        assert (folder / source).stat().st_size > 1000


def test_data_that_changed_since_is_not_shown_as_what_was_heard(grounded, tmp_path, capsys):
    moved = tmp_path / "run"
    shutil.copytree(grounded, moved)
    state = json.loads((moved / "run.json").read_text())
    state["config"]["task"]["min_duration"] = 0.75
    (moved / "run.json").write_text(json.dumps(state))
    assert main([str(moved), "--out", str(tmp_path / "report")]) == 0
    assert "cannot be made again" in capsys.readouterr().err
    record = read(tmp_path / "report", "r0-0")[0]
    assert "prompt" not in record
    assert [clip["file"]["whole"] for clip in record["clips"]] == [True]
    assert not {"heard", "events"} & record["clips"][0].keys()
    assert "fingerprint" in read(tmp_path / "report", "index")["notes"][0]


def test_an_item_without_an_answer_is_a_row_and_no_wrong_answer(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["none"], run)
    rows = decisions(run)
    lost = rows.pop(3)["id"]
    (run / "decisions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    analysis = json.loads((run / "analysis.json").read_text())
    (run / "analysis.json").write_text(json.dumps(analysis | {"unanswered": [lost]}))
    answers = [json.loads(x) for x in (run / "responses.jsonl").read_text().splitlines()]
    for answer in answers:
        if answer["sample_id"] == lost:
            answer |= {"finish": "error", "error": "the server <b>hung up</b>", "text": ""}
    (run / "responses.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    assert main([str(run), "--out", str(tmp_path / "report"), "--clips", "none"]) == 0
    listed = read(tmp_path / "report", "r0")
    assert (listed["n"], listed["id"][-1], listed["status"][-1]) == (42, lost, 3)
    assert listed["status"].count(3) == 1
    assert read(tmp_path / "report", "r0-0")[-1]["error"] == "the server <b>hung up</b>"
    assert "<b>" not in (tmp_path / "report" / "data" / "r0-0.js").read_text()


def judge(run, verdicts):
    """The files of a run that two judges have seen, in the form that `stage=judge` writes."""
    folder = run / "judge" / "binary"
    folder.mkdir(parents=True)
    rows = decisions(run)
    for row, (one, two) in zip(rows, verdicts, strict=False):
        known = [v for v in (one, two) if v is not None]
        row |= {"correct[a]": one, "correct[b]": two, "verdict[a]": "so <i>it</i> is"}
        row |= {"verdict[b]": "no", "judge_correct": sum(known) / len(known)}
    (folder / "decisions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    metrics = {"headline": ["judge_correct"], "metrics": {"n_answers": 3, "judge_correct": 0.5}}
    (folder / "metrics.json").write_text(json.dumps(metrics))


def test_judges_that_disagree(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["none"], run)
    judge(run, [(1.0, 1.0), (1.0, 0.0), (None, 0.0)])
    assert main([str(run), "--out", str(tmp_path / "report"), "--clips", "none"]) == 0
    assert read(tmp_path / "report", "r0")["disagree"][:4] == [0, 1, 0, None]
    (rubric,) = read(tmp_path / "report", "r0-0")[1]["judges"]
    assert rubric["panel"] == {"correct": 0.5}
    assert [j["values"]["correct"] for j in rubric["judges"]] == [1.0, 0.0]
    with open(tmp_path / "report" / "tables" / "judged_binary.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["judges disagree"] == "1 of 3"


def test_a_report_is_made_without_torch(runs, tmp_path):
    code = (
        "import sys; from lalm_bench.report.__main__ import main; "
        f"main([{str(runs['mask'])!r}, '--out', 'report', '--clips', '1']); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(ROOT),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: no run folder"),
        (["."], "no run, sweep or study"),
        (["0000"], "0000"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--out", "report"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert [*tmp_path.iterdir()] == []


def test_a_folder_of_something_else_is_left_alone(runs, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all I have")
    assert main([str(runs["none"]), "--out", str(tmp_path / "mine")]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert [p.name for p in tmp_path.rglob("*")] == ["mine", "thesis.tex"]


def test_a_report_that_fails_leaves_the_one_before(runs, tmp_path, monkeypatch):
    out = tmp_path / "report"
    assert main([str(runs["none"]), "--out", str(out), "--clips", "none"]) == 0
    first = (out / "data" / "index.js").read_bytes()

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("lalm_bench.report.site._write_run", stop)
    assert main([str(runs["mask"]), "--out", str(out)]) == 130
    assert (out / "data" / "index.js").read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_a_part_of_a_recording_is_named_with_its_ends(wav, tmp_path):
    from lalm_bench.report.listening import Studio

    path = wav("long.wav", seconds=2.0)
    studio = Studio(tmp_path / "r", tmp_path / "r")
    found = studio.original(AudioSource(AudioRef(str(path), 0.5, 1.5)))
    assert (found["src"], found["start"], found["end"]) == ("../long.wav", 0.5, 1.5)
    assert "src" not in studio.original(AudioSource(AudioRef(str(tmp_path / "gone.wav"))))


def test_a_model_that_got_no_audio_is_not_said_to_have_heard_it(runs, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    command(folder, "task.scenes=1", "intervention=no_audio")
    run = next(folder.glob("outputs/*/*/*/*/run.json")).parent
    assert main([str(run), "--out", str(tmp_path / "report"), "--clips", "all"]) == 0
    for record in read(tmp_path / "report", "r0-0"):
        (clip,) = record["clips"]
        assert clip["unheard"]
        assert clip["heard"] == clip["original"]
        assert [part for part in record["prompt"][0]["parts"] if "audio" in part] == []


def test_recordings_are_found_by_the_decisions_where_the_task_is_gone(grounded, tmp_path):
    run = tmp_path / "a" / "b" / "c" / "run"
    shutil.copytree(grounded, run)
    state = json.loads((run / "run.json").read_text())
    state["config"]["task"]["source"]["annotations"] = str(tmp_path / "gone.csv")
    (run / "run.json").write_text(json.dumps(state))
    assert main([str(run), "--out", str(tmp_path / "report")]) == 0
    (clip,) = read(tmp_path / "report", "r0-0")[0]["clips"]
    assert clip["file"]["whole"]
    assert clip["file"]["src"].endswith("a%20b%231.wav")


@pytest.mark.parametrize(
    ("was", "right", "label", "correct", "flags"),
    [
        ("A", True, "A", 1.0, 0),
        ("A", True, "B", 0.0, OTHER_ANSWER | RIGHT_TO_WRONG),
        ("A", True, None, 0.0, OTHER_ANSWER | RIGHT_TO_WRONG | LOST_LABEL),
        ("B", False, "A", 1.0, OTHER_ANSWER | WRONG_TO_RIGHT),
        ("B", False, "C", 0.0, OTHER_ANSWER),
        ("B", False, None, 0.0, OTHER_ANSWER | LOST_LABEL),
        (None, False, None, 0.0, 0),
        (None, False, "A", 1.0, OTHER_ANSWER | WRONG_TO_RIGHT),
    ],
)
def test_what_became_of_an_answer(was, right, label, correct, flags, runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["none"], run)
    row = decisions(run)[0] | {"label": label, "correct": correct, "invalid": label is None}
    (run / "decisions.jsonl").write_text(json.dumps(row) + "\n")
    before = {(row["id"], ""): Before(was, right, "text")}
    found = columns.read(load(run), Verdicts(), before)
    assert found.change == [flags]
    assert columns.read(load(run), Verdicts(), None).change == [None]
    assert columns.read(load(run), Verdicts(), {}).change == [None]


def test_the_copies_in_a_local_mlflow_store_are_no_runs_of_their_own(runs, tmp_path):
    run = runs["none"]
    shutil.copytree(run, tmp_path / "mcq_synthetic" / "signal" / "baseline" / run.name)
    shutil.copytree(run, tmp_path / "mlruns" / "2b26" / "artifacts")
    assert len(sources.find([str(tmp_path)], tmp_path).runs) == 1
