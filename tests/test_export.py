"""Requests on disk for outside inference, and back: export, answer, import."""

import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from lalm_bench import audio, audio_facts, clip_files, export
from lalm_bench.types import AudioRef
from tests.conftest import ROOT, environment
from tests.test_run import only, record, rows

QUIET = ("tracking=none", "figures=false")
# An outside program: no run, no model, no task of this package; only ears and a reader.
LISTENER = """
import csv, json, pathlib, sys
import soundfile
from lalm_bench.models.sound_events import detect
from lalm_bench.models.sound_questions import pick, understand
from lalm_bench.types import Choice

folder = pathlib.Path(sys.argv[1])
answers = {}
for line in open(folder / "requests.jsonl"):
    asked = json.loads(line)
    parts = [part for turn in asked["messages"] for part in turn["content"]]
    text = "\\n".join(part["text"] for part in parts if part["type"] == "text")
    (clip,) = [part["audio"] for part in parts if part["type"] == "audio"]
    rule = understand(text)
    word = rule(detect(*soundfile.read(folder / clip, dtype="float32"))) if rule else None
    choices = [Choice(c["label"], c["text"]) for c in asked["choices"]]
    said = None if word is None else pick(word, choices)
    answers[asked["id"], asked["variant"]] = said or "I cannot tell."
table = list(csv.DictReader(open(folder / "answers.csv", newline="")))
with open(folder / "filled.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, table[0])
    writer.writeheader()
    for row in table:
        writer.writerow(row | {"output": answers[row["id"], row["variant"]]})
"""


def listen(folder):
    outside = [sys.executable, "-c", LISTENER, str(folder)]
    subprocess.run(outside, check=True, env=environment(ROOT), timeout=120)


def decisions(folders, model):
    (folder,) = [f for f in folders.values() if f.parent.parent.name == model]
    # Who answers from a file has not seen what an intervention did to the clips.
    lines = rows(folder / "decisions.jsonl")
    return [{k: v for k, v in row.items() if k not in audio_facts.NAMES} for row in lines]


@pytest.mark.parametrize("condition", [(), ("intervention=mask", "intervention.ratio=0.6")])
def test_round_trip_gives_the_decisions_of_the_direct_run(bench, run_folders, tmp_path, condition):
    suite = ("task=mcq_synthetic", "limit=40", *QUIET, *condition)
    bench("stage=export", "model=predictions", "export.folder=there", *suite, check=0)
    listen(tmp_path / "there")
    bench("model=predictions", "model.name=outside", "model.path=there/filled.csv", *suite, check=0)
    bench("model=signal", *suite, check=0)
    folders = run_folders()
    assert decisions(folders, "outside") == decisions(folders, "signal")
    found = json.loads(
        next(f for f in folders.values() if "outside" in f.parts)
        .joinpath("metrics.json")
        .read_text()
    )
    assert found["metrics"]["n"] == 40
    assert found["timing"]["unverified"] == 0
    if condition:
        assert 0 < found["metrics"]["accuracy"] < 1


def test_answers_are_not_taken_for_another_condition(bench, run_folders, tmp_path):
    suite = ("limit=6", *QUIET)
    bench("stage=export", "model=predictions", "export.folder=there", *suite, check=0)
    listen(tmp_path / "there")
    asked = ("model=predictions", "model.path=there/filled.csv", *suite)
    bench(*asked, "intervention=noise", check=1)
    folder = only(run_folders())
    answers = rows(folder / "responses.jsonl")
    assert len(answers) == 6
    assert all("answers another request" in a["error"] for a in answers)
    bench(*asked, check=0)


def test_wavs_are_what_the_model_hears_bit_for_bit(bench, tmp_path, wav):
    """44.1 kHz stereo, cut in two, resampled, with noise; two items on one clip share a file."""
    wav("audio/0.wav", seconds=1.3, rate=44100, channels=2)
    lines = [record("one", "0.wav"), record("two", "0.wav")]
    (tmp_path / "d.jsonl").write_text("\n".join(lines) + "\n")
    task = ("task=mcq", f"task.dataset={tmp_path / 'd.jsonl'}", "task.audio_root=audio")
    bench("stage=export", "model=signal", "export.folder=plain", *task, check=0)
    bench("stage=export", "model=signal", "export.folder=hi", "export.rate=48000", *task, check=0)
    noisy = ("intervention=noise", "export.folder=noisy")
    bench("stage=export", "model=signal", *noisy, *task, check=0)
    clip = audio.AudioSource(AudioRef(str(tmp_path / "audio" / "0.wav")))
    for folder, rate in (("plain", 16000), ("hi", 48000)):
        (file,) = (tmp_path / folder / "audio").glob("*.wav")
        wave, read = soundfile.read(file, dtype="float32")
        assert read == rate
        assert np.array_equal(wave.view(np.uint32), audio.render(clip, rate).view(np.uint32))
        asked = rows(tmp_path / folder / "requests.jsonl")
        assert [r["messages"][0]["content"][0]["audio"] for r in asked] == [
            f"audio/{file.name}"
        ] * 2
    assert len(list((tmp_path / "noisy" / "audio").glob("*.wav"))) == 2  # noise is drawn per item


def test_each_clip_has_a_record_and_can_be_heard_before_and_after(bench, tmp_path, wav):
    wav("audio/0.wav", seconds=1.3, rate=44100)
    lines = [record("one", "0.wav"), record("two", "0.wav")]
    (tmp_path / "d.jsonl").write_text("\n".join(lines) + "\n")
    words = (
        *(
            "stage=export",
            "model=signal",
            "task=mcq",
            "export.folder=there",
            "task.audio_root=audio",
        ),
        *(f"task.dataset={tmp_path / 'd.jsonl'}", "intervention=chain"),
        "+intervention@intervention.steps.1=adversarial_audio",
        "intervention/speech@intervention.steps.1.speech=tones",
        "+intervention@intervention.steps.2=mask",
        "intervention.steps.2.ratio=0.25",
    )
    bench(*words, check=0)
    assert not (tmp_path / "there" / "original").exists()
    bench(*words, "export.original=true", check=0)
    records = [json.loads(f.read_text()) for f in (tmp_path / "there" / "audio").glob("*.json")]
    assert sorted(r["items"] for r in records) == [["one"], ["two"]]
    source = str(tmp_path / "audio" / "0.wav")
    for told in records:
        assert told["rate"] == 16000
        assert told["source"]["start"] is told["source"]["end"] is None
        assert told["source"]["path"].endswith("audio/0.wav")
        spoken, mask = told["edits"]
        assert [spoken["edit"], mask["edit"]] == ["SpokenEdit", "MaskEdit"]
        assert spoken["parameters"]["utterance"]["text"]
        assert spoken["parameters"]["mode"] == "splice"
        assert mask["parameters"]["ratio"] == 0.25
        assert mask["facts"]["masked_share"] == pytest.approx(0.25, abs=1e-4)
        assert "masked_share" not in spoken["facts"]
        heard, _ = soundfile.read(tmp_path / "there" / told["audio"], dtype="float32")
        plain, rate = soundfile.read(tmp_path / "there" / told["original"], dtype="float32")
        assert rate == 16000
        assert len(heard) == told["samples"]
        assert len(heard) - len(plain) == spoken["facts"]["spoken_samples"]
        assert (heard == 0).sum() == pytest.approx(0.25 * len(heard), abs=20)
        assert np.array_equal(plain, audio.render(audio.AudioSource(AudioRef(source)), 16000))
    lost = [tmp_path / "there" / told["audio"] for told in records]
    lost[0].with_suffix(".json").unlink()
    (tmp_path / "there" / records[1]["original"]).unlink()
    assert "(2 written now)" in bench(*words, "export.original=true", check=0).stdout
    assert "(0 written now)" in bench(*words, "export.original=true", check=0).stdout


def test_a_record_names_every_item_and_no_edit_where_none_was_made(bench, tmp_path, wav):
    wav("audio/0.wav")
    lines = [record("one", "0.wav"), record("two", "0.wav")]
    (tmp_path / "d.jsonl").write_text("\n".join(lines) + "\n")
    task = ("task=mcq", f"task.dataset={tmp_path / 'd.jsonl'}", "task.audio_root=audio")
    bench("stage=export", "model=signal", "export.folder=there", *task, check=0)
    (told,) = [json.loads(f.read_text()) for f in (tmp_path / "there" / "audio").glob("*.json")]
    assert told["items"] == ["one", "two"]
    assert told["edits"] == []
    assert told["facts"] == {}


def test_wav_bytes_hold_no_time_and_no_rounding():
    wave = np.array([0.0, -0.0, 1e-42, 1.5, -3.25, 1 / 3, np.nextafter(1, 0)], np.float32)
    written = clip_files.wav(wave, 16000)
    time.sleep(1.1)  # libsndfile would stamp the second into the file
    assert clip_files.wav(wave, 16000) == written


def test_no_weights_and_no_torch(bench):
    """A model that is not on this machine only lends its sampling rate."""
    words = ("stage=export", "model=voxtral", "export.folder=there", "limit=3")
    done = bench(*words, python=("-X", "importtime"), check=0)
    modules = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "lalm_bench.preflight" in modules
    assert not modules & {"torch", "transformers", "mlflow"}
    assert not bench.outputs.exists()


def test_a_second_export_keeps_the_answers_and_writes_nothing_twice(bench, tmp_path):
    words = ("stage=export", "model=predictions", "export.folder=there", "limit=5")
    bench(*words, check=0)
    folder = tmp_path / "there"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    (folder / "answers.csv").write_text("id,variant,output\nmine,,A\n")
    lost = next((folder / "audio").iterdir())
    lost.unlink()
    mine = [folder / "answers_of_salmonn.csv", folder / "audio" / "mine.wav"]
    for path in mine:
        path.write_text("id,output\n")
    assert "(1 written now)" in bench(*words, check=0).stdout
    assert (folder / "answers.csv").read_text() == "id,variant,output\nmine,,A\n"
    assert all(path.exists() for path in mine)
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for path, content in before.items():
        assert path.name == "answers.csv" or after[path] == content


def test_kill_in_the_middle_and_go_on(bench, tmp_path):
    words = ("stage=export", "model=predictions", "task.scenes=72")
    process = subprocess.Popen(
        [sys.executable, "-m", "lalm_bench", *words, "export.folder=there", "runtime.workers=1"],
        cwd=tmp_path,
        env=environment(ROOT),
        stdout=subprocess.DEVNULL,
    )
    place = tmp_path / "there" / "audio"
    deadline = time.monotonic() + 60
    while not (place.is_dir() and len(list(place.glob("*.wav"))) > 40):
        assert process.poll() is None, "over before the kill"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(place.glob("*.wav")))
    assert 40 < kept < 504, "the kill came too late to test anything"
    assert not (tmp_path / "there" / "requests.jsonl").exists()
    assert f"({504 - kept} written now)" in bench(*words, "export.folder=there", check=0).stdout
    bench(*words, "export.folder=whole", check=0)

    def content(name):
        files = (p for p in (tmp_path / name).rglob("*") if p.name not in (".lock", "export.json"))
        return {p.relative_to(tmp_path / name): p.read_bytes() for p in files if p.is_file()}

    assert content("there") == content("whole")


def bad(bench, *words):
    done = bench("stage=export", "model=predictions", *words, check=2)
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


def test_another_folder_is_left_alone(bench, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert "holds something else (thesis.tex)" in bad(bench, "export.folder=mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    assert "is a file" in bad(bench, "export.folder=mine/thesis.tex")


@pytest.mark.parametrize("change", ["limit=4", "seed=8", "export.rate=8000", "intervention=noise"])
def test_two_exports_are_never_mixed(bench, tmp_path, change):
    same = ("stage=export", "model=predictions", "export.folder=there", "limit=3")
    bench(*same, check=0)
    before = sorted(tmp_path.joinpath("there").rglob("*"))
    assert "holds other requests (baseline" in bad(bench, "limit=3", "export.folder=there", change)
    assert sorted(tmp_path.joinpath("there").rglob("*")) == before


def test_mistakes(bench):
    assert "export.folder must be set" in bad(bench)
    assert "export.rate='x'" in bad(bench, "export.folder=x", "export.rate=x")
    assert "export.original=1" in bad(bench, "export.folder=x", "export.original=1")
    assert "set export.rate" in bad(bench, "export.folder=x", "model=random")
    done = bench("stage=exprt", check=2)
    assert "stage=exprt (did you mean 'export'?): there are run, export" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "stage=export" in bench("--help", check=0).stdout


def test_a_recording_that_cannot_be_decoded_is_named(bench, tmp_path, wav):
    wave, rate = soundfile.read(wav("tone.wav"))
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "0.flac", wave, rate)
    whole = (tmp_path / "audio" / "0.flac").read_bytes()
    (tmp_path / "audio" / "0.flac").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "d.jsonl").write_text(record("item7", "0.flac") + "\n")
    task = ("task=mcq", f"task.dataset={tmp_path / 'd.jsonl'}", "task.audio_root=audio")
    said = bad(bench, *task, "export.folder=there")
    assert "item7" in said
    assert "0.flac" in said
    assert not (tmp_path / "there" / "requests.jsonl").exists()
    (tmp_path / "audio" / "0.flac").write_bytes(whole)
    bench("stage=export", "model=predictions", *task, "export.folder=there", check=0)
    assert len(list((tmp_path / "there" / "audio").glob("*.wav"))) == 1


def test_the_template_names_every_request(bench, tmp_path):
    bench("stage=export", "model=predictions", "export.folder=there", "limit=7", check=0)
    with open(tmp_path / "there" / "answers.csv", newline="") as file:
        table = list(csv.DictReader(file))
    asked = rows(tmp_path / "there" / "requests.jsonl")
    assert [(r["id"], r["variant"], r["request"], "") for r in asked] == [
        tuple(row[name] for name in export.COLUMNS) for row in table
    ]
    assert len({r["request"] for r in asked}) == 7
