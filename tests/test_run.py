"""The main job as a user runs it: one command, in a process of its own."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, environment

SMALL = ("task.scenes=12", "tracking=none", "figures=false")


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def only(folders):
    (folder,) = folders.values()
    return folder


def results(folder):
    """All final files, timing aside."""
    content = {}
    for name in ("decisions.jsonl", "analysis.json", "results_table.md"):
        content[name] = (folder / name).read_bytes()
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["timing"]
    content["metrics"] = metrics
    state = json.loads((folder / "run.json").read_text())
    for name in ("started", "finished", "starts", "config", "host"):
        del state[name]
    content["run"] = state
    keep = ("key", "sample_id", "variant", "text", "finish", "scores", "error")
    lines = [{k: r.get(k) for k in keep} for r in rows(folder / "responses.jsonl")]
    content["responses"] = sorted(lines, key=lambda r: r["key"])
    return content


def test_the_default_answers_everything_from_the_signal(bench, run_folders):
    done = bench("task.scenes=12", "figures=true", check=0)
    folder = only(run_folders())
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert values["n"] == 7 * 12
    assert values["accuracy"] == 1.0
    assert values["n_errors"] == 0
    assert 0.3 < values["chance"] < 0.5
    assert "accuracy" in done.stdout
    assert str(folder) in done.stdout
    figures = {p.name for p in (folder / "figures").iterdir()}
    assert {"accuracy_by_family.png", "accuracy_by_family.svg", "confusion.png"} <= figures
    decisions = rows(folder / "decisions.jsonl")
    assert len(decisions) == 84
    assert {d["family"] for d in decisions} >= {"gap_trivial", "count_beeps_trivial"}
    assert json.loads((folder / "analysis.json").read_text())["by_family"]
    index = list(csv.DictReader((bench.outputs / "runs.csv").open()))
    assert [r["fingerprint"] for r in index] == [folder.name]


def test_a_second_start_asks_nothing_and_a_rescore_changes_nothing(bench, run_folders):
    bench(*SMALL, check=0)
    folder = only(run_folders())
    before = results(folder)
    answers = (folder / "responses.jsonl").read_bytes()
    assert "already finished, nothing asked" in bench(*SMALL, check=0).stdout
    bench(*SMALL, "rescore=true", check=0)
    assert results(folder) == before
    assert (folder / "responses.jsonl").read_bytes() == answers
    assert json.loads((folder / "run.json").read_text())["starts"] == 2


def test_lost_scores_are_made_again_without_the_model(bench, run_folders):
    bench(*SMALL, check=0)
    folder = only(run_folders())
    before = results(folder)
    (folder / "metrics.json").unlink()
    (folder / "decisions.jsonl").unlink()
    bench(*SMALL, check=0)
    assert results(folder) == before
    assert len(rows(folder / "responses.jsonl")) == 84


def test_speed_settings_change_nothing(bench, run_folders):
    bench(*SMALL, "model=random", "runtime.batch_size=1", "runtime.workers=1", check=0)
    first = results(only(run_folders()))
    folder = only(run_folders())
    folder.rename(folder.with_name("kept"))
    bench(*SMALL, "model=random", "runtime.batch_size=64", "runtime.workers=7", check=0)
    assert results(run_folders()[first["run"]["fingerprint"]]) == first


@pytest.mark.parametrize("model", ["random", "signal"])
def test_the_order_of_the_dataset_changes_no_decision(bench, run_folders, tmp_path, wav, model):
    wav("audio/0.wav")
    lines = [record(f"item{n}", "0.wav") for n in range(12)]
    found = []
    for order in (lines, lines[::-1]):
        (tmp_path / "d.jsonl").write_text("\n".join(order) + "\n")
        words = ("task=mcq", f"task.dataset={tmp_path / 'd.jsonl'}", "figures=false")
        audio = f"task.audio_root={tmp_path / 'audio'}"
        bench(*words, audio, f"model={model}", "tracking=none", check=0)
        (new,) = [f for f in run_folders().values() if f not in found]
        found.append(new)
    first, second = (rows(folder / "decisions.jsonl") for folder in found)
    assert first == second[::-1]


def test_the_published_random_baseline(bench, run_folders):
    """TACoBeLAL reports 0.59 for its random baseline on 100 gap items."""
    words = ("task.compat=true", "task.scenes=100", "task.families=[gap_trivial]")
    bench(*words, "model=random", "model.compat=true", "tracking=none", "figures=false", check=0)
    folder = only(run_folders())
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert metrics["accuracy"] == pytest.approx(0.59)
    # A run that was cut short is drawn again from the first item, so it ends the same.
    log = folder / "responses.jsonl"
    before = rows(folder / "decisions.jsonl")
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:30]))
    (folder / "metrics.json").unlink()
    bench(*words, "model=random", "model.compat=true", "tracking=none", "figures=false", check=0)
    assert rows(folder / "decisions.jsonl") == before


def test_a_limit_is_a_nested_sample(bench, run_folders):
    for limit in (10, 30):
        bench(*SMALL, f"limit={limit}", check=0)
    chosen = sorted(
        ([d["id"] for d in rows(f / "decisions.jsonl")] for f in run_folders().values()), key=len
    )
    assert [len(c) for c in chosen] == [10, 30]
    assert set(chosen[0]) < set(chosen[1])
    assert len({i.split("_easy")[0] for i in chosen[1]}) > 3


def test_kill_in_the_middle_loses_nothing(bench, run_folders, tmp_path):
    """kill -9 while answers arrive; the next start asks only what is missing."""
    overrides = ("task.scenes=72", "tracking=none", "figures=false")
    bench(*overrides, "paths.outputs=whole", check=0)
    (whole,) = (p.parent for p in (tmp_path / "whole").rglob("run.json"))
    process = subprocess.Popen(
        [sys.executable, "-m", "lalm_bench", *overrides, "paths.outputs=outputs"],
        cwd=tmp_path,
        env=environment(ROOT),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_answers(process, tmp_path, 40)
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = only(run_folders())
    kept = rows(folder / "responses.jsonl")
    assert 40 <= len(kept) < 504, "the kill came too late to test anything"
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    assert not (folder / "metrics.json").exists()

    bench(*overrides, "paths.outputs=outputs", check=0)
    after = rows(folder / "responses.jsonl")
    assert after[: len(kept)] == kept
    assert len(after) == len({r["key"] for r in after}) == 504
    assert results(folder) == results(whole)


def test_ctrl_c_stops_cleanly_and_the_next_start_continues(bench, run_folders, tmp_path):
    overrides = ("task.scenes=72", "tracking=none", "figures=false", "paths.outputs=outputs")
    process = subprocess.Popen(
        [sys.executable, "-m", "lalm_bench", *overrides],
        cwd=tmp_path,
        env=environment(ROOT),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_answers(process, tmp_path, 20)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "continues where it left off" in said
    assert "Traceback" not in said
    folder = only(run_folders())
    assert json.loads((folder / "run.json").read_text())["status"] == "stopped"
    bench(*overrides, check=0)
    assert len(rows(folder / "decisions.jsonl")) == 504


def wait_for_answers(process, tmp_path, count):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        logs = list((tmp_path / "outputs").rglob("responses.jsonl"))
        if logs and logs[0].read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError("no answers in time")


def test_a_torn_line_is_mended_on_the_next_start(bench, run_folders):
    bench(*SMALL, check=0)
    folder = only(run_folders())
    before = results(folder)
    log = folder / "responses.jsonl"
    log.write_bytes(log.read_bytes()[:-25])
    (folder / "metrics.json").unlink()
    bench(*SMALL, check=0)
    assert results(folder) == before


def test_an_item_that_fails_is_an_error_not_an_answer(bench, run_folders, tmp_path, wav):
    """A header promises more than the file holds: found only when it is decoded."""
    data = tmp_path / "mcq.jsonl"
    lines = []
    for n in range(3):
        path = wav(f"audio/{n}.wav")
        lines.append(record(f"item{n}", path.name))
    broken = tmp_path / "audio" / "1.wav"
    whole = broken.read_bytes()
    # The header still promises 1 s; libsndfile trusts the length of the file, so ask for FLAC.
    import soundfile

    wave, rate = soundfile.read(broken)
    soundfile.write(tmp_path / "audio" / "1.flac", wave, rate)
    flac = (tmp_path / "audio" / "1.flac").read_bytes()
    (tmp_path / "audio" / "1.flac").write_bytes(flac[: len(flac) // 2])
    lines[1] = record("item1", "1.flac")
    data.write_text("\n".join(lines) + "\n")
    command = ("task=mcq", f"task.dataset={data}", f"task.audio_root={tmp_path / 'audio'}")
    done = bench(*command, "tracking=none", "figures=false", check=1)
    assert "item1" in done.stderr
    folder = only(run_folders())
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert (values["n"], values["n_errors"]) == (2, 1)
    assert json.loads((folder / "run.json").read_text())["status"] == "incomplete"
    assert json.loads((folder / "analysis.json").read_text())["unanswered"] == ["item1"]

    (tmp_path / "audio" / "1.flac").write_bytes(flac)
    bench(*command, "tracking=none", "figures=false", check=0)
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert (values["n"], values["n_errors"]) == (3, 0)
    assert whole


def test_a_changed_recording_is_asked_again(bench, run_folders, tmp_path, wav):
    data = tmp_path / "mcq.jsonl"
    wav("audio/0.wav")
    data.write_text(record("item0", "0.wav") + "\n")
    command = ("task=mcq", f"task.dataset={data}", f"task.audio_root={tmp_path / 'audio'}")
    bench(*command, "tracking=none", "figures=false", check=0)
    folder = only(run_folders())
    assert "nothing asked" in bench(*command, "tracking=none", "figures=false", check=0).stdout
    wav("audio/0.wav", pitch=300.0)
    bench(*command, "tracking=none", "figures=false", check=0)
    assert len({r["key"] for r in rows(folder / "responses.jsonl")}) == 2


@pytest.mark.parametrize("model", ["random", "signal"])
@pytest.mark.parametrize(
    "intervention", ["none", "mask", "noise", "silence", "no_audio"], ids=lambda name: name
)
def test_every_intervention_runs(bench, run_folders, model, intervention):
    bench(*SMALL, "task.scenes=2", f"model={model}", f"intervention={intervention}", check=0)
    assert json.loads((only(run_folders()) / "metrics.json").read_text())["metrics"]["n"] == 14


def record(name, audio):
    return json.dumps(
        {
            "id": name,
            "audio_filename": audio,
            "question": "How many beeps did you hear?",
            "options": [
                {"label": "A", "text": "one beep", "type": "count"},
                {"label": "C", "text": "two beeps", "type": "count"},
            ],
            "answer_label": "A",
            "answer_text": "one beep",
        }
    )
