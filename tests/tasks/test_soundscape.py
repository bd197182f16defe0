"""Soundscapes: annotations that hold in the waveform, identity, and all tasks over one folder."""

import itertools
import json
import shutil

import numpy as np
import pytest
import soundfile

from lalm_bench import audio
from lalm_bench.errors import AudioError, ConfigError, DataError
from lalm_bench.tasks.duration import DurationRules
from lalm_bench.tasks.grounding import Grounding
from lalm_bench.tasks.soundscape import Soundscapes
from lalm_bench.types import AudioSource
from tests.tasks.strong_tables import labelled


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return labelled(tmp_path_factory.mktemp("sounds") / "clips")


def drawn(folder, **settings):
    return Soundscapes(root=str(folder), **{"scenes": 60, **settings})


def spans(source):
    found = {}
    for name, label, onset, offset in source.rows():
        found.setdefault(name, []).append((label, float(onset), float(offset)))
    return found


def test_annotations_are_what_is_heard(folder):
    """Against silence: the waveform is above the floor where a sound is annotated, and nowhere
    else, to 10 ms; though every recording begins with a second of silence."""
    source = drawn(folder, background_db=None)
    rate = source.rate
    for name, sounds in spans(source).items():
        wave, native = source.clip(name).synthesise()
        assert (native, len(wave), wave.dtype) == (rate, 10 * rate, np.float32)
        assert np.abs(wave).max() <= 0.8911
        expected = np.zeros(len(wave), bool)
        for _, onset, offset in sounds:
            expected[round(onset * rate) : round(offset * rate)] = True
        edge = round(0.01 * rate)
        for _, onset, offset in sounds:
            for border in (round(onset * rate), round(offset * rate)):
                expected[max(border - edge, 0) : border + edge] = False
        heard = np.convolve(np.abs(wave), np.ones(160) / 160, "same") > 1e-4
        assert heard[expected].all()
        outside = np.ones(len(wave), bool)
        for _, onset, offset in sounds:
            outside[max(round(onset * rate) - edge, 0) : round(offset * rate) + edge] = False
        assert not heard[outside].any()


def test_the_settings_hold(folder):
    source = drawn(folder, scenes=300, event_s=(0.6, 1.4), events=(2, 4), pause_s=(0.4, 0.8))
    scenes = spans(source)
    starts = {"together": 0, "during": 0, "after": 0}
    for sounds in scenes.values():
        assert 1 <= len(sounds) <= 4
        for (_, on, off), (_, onset, _) in itertools.pairwise(sounds):
            gap = onset - max(s[2] for s in sounds if s[1] < onset or s[1:] == (on, off))
            if onset == on:
                starts["together"] += 1
            elif onset < off:
                starts["during"] += 1
                assert onset - on >= 0.298
                assert off - onset >= 0.298
            else:
                starts["after"] += 1
                assert 0.398 <= gap <= 0.802
        assert all(0.598 <= off - on <= 1.402 for _, on, off in sounds)
        assert all(0 <= on < off <= 10.001 for _, on, off in sounds)
    assert all(count > 30 for count in starts.values()), starts
    labels = [label for sounds in scenes.values() for label, *_ in sounds]
    assert set(labels) == {"dog bark", "rain", "bell", "horn", "cat"}
    repeated = [s for s in scenes.values() if len({x[0] for x in s}) < len(s)]
    assert 0 < len(repeated) < 150
    alone = spans(drawn(folder, overlap=0, together=0, repeat=0))
    for sounds in alone.values():
        assert all(b[1] > a[2] for a, b in itertools.pairwise(sounds))
        assert len({s[0] for s in sounds}) == len(sounds)


def test_a_scene_is_its_content(folder, tmp_path):
    first, again = drawn(folder), drawn(folder)
    assert first.rows() == again.rows()
    names = sorted(spans(first))
    clip, same = first.clip(names[0]), again.clip(names[0])
    assert clip.content() == same.content()
    assert np.array_equal(clip.synthesise()[0], same.synthesise()[0])
    assert str(folder) not in clip.content()
    assert len({first.clip(n).content() for n in names}) == len(names)
    assert drawn(folder, seed=8).rows() != first.rows()
    # The number of scenes does not change one.
    assert drawn(folder, scenes=5).rows() == [r for r in first.rows() if r[0] < "scene_000005"]
    # Another place: the same scenes. Other bytes: another identity, nothing else changed.
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    moved = drawn(copy)
    assert moved.clip(names[0]).content() == clip.content()
    file = moved.clip(names[0]).parts[0].recording.path
    wave, rate = soundfile.read(file)
    soundfile.write(file, -wave, rate)  # as loud as before, in each frame
    assert drawn(copy).clip(names[0]).content() != clip.content()


def test_a_clip_is_lazy_and_its_length_known(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    source = drawn(copy)
    name = source.rows()[0][0]
    clip = source.clip(name)
    assert audio.seconds(AudioSource(clip)) == 10.0
    assert len(audio.render(AudioSource(clip), 8000)) == 80_000
    shutil.rmtree(copy)
    with pytest.raises(AudioError, match="no such audio file"):
        clip.synthesise()


def test_other_rates_and_channels_are_mixed(folder, tmp_path):
    root = tmp_path / "mixed"
    rng = np.random.default_rng(0)
    for label, rate, channels in (("a", 8000, 1), ("b", 44_100, 8), ("c", 192_000, 2)):
        (root / label).mkdir(parents=True)
        wave = 0.2 * rng.standard_normal((2 * rate, channels))
        soundfile.write(root / label / "x.wav", wave, rate)
    (root / "a" / "notes.txt").write_text("no recording")
    (root / ".hidden").mkdir()
    source = drawn(root, scenes=10, background_db=None)
    assert len(source.inputs()) == 3
    for name, sounds in spans(source).items():
        wave, rate = source.clip(name).synthesise()
        for _, onset, offset in sounds:
            assert np.abs(wave[round(onset * rate) : round(offset * rate)]).max() > 0.05


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n\x1a\n", "not readable as audio"),
        (b"", "not readable as audio"),
        ("nan", "values that are no numbers"),
    ],
)
def test_a_bad_recording_is_named(tmp_path, content, words):
    root = labelled(tmp_path / "clips", ("dog", "rain"), each=1)
    bad = root / "dog" / "0.wav"
    if content == "nan":
        soundfile.write(bad, np.full(16000, np.nan, np.float32), 16000, subtype="FLOAT")
    else:
        bad.write_bytes(content)
    with pytest.raises(DataError, match=f"{bad}.*{words}.*task.source.root"):
        drawn(root).rows()


def test_silent_and_short_recordings_are_passed_over(tmp_path):
    root = labelled(tmp_path / "clips", ("dog", "rain"), each=1)
    (root / "mute").mkdir()
    soundfile.write(root / "mute" / "0.wav", np.zeros(32_000), 16000)
    soundfile.write(root / "mute" / "1.wav", 0.1 * np.ones(160), 16000)
    labels = {label for sounds in spans(drawn(root)).values() for label, *_ in sounds}
    assert labels == {"dog", "rain"}


def test_bad_folders_and_settings_are_refused(folder, tmp_path):
    assert "two labels" in drawn(tmp_path / "absent").missing(True)[0]
    assert drawn(folder).missing(True) == []
    labelled(tmp_path / "twice", ("dog_bark", "dog bark", "Rain"), each=1)
    with pytest.raises(DataError, match="another folder has this label"):
        drawn(tmp_path / "twice").rows()
    for settings, words in (
        ({"events": [3, 2]}, "task.source.events"),
        ({"event_s": 2}, "task.source.event_s"),
        ({"overlap": 0.7, "together": 0.5}, "exceed 1"),
        ({"rate": 10}, "rate=10"),
        ({"scenes": 0}, "scenes=0"),
    ):
        with pytest.raises(ConfigError, match=words):
            drawn(folder, **settings)


def test_length_guessers_are_at_chance_here_too(folder):
    records, _ = DurationRules().build(drawn(folder, scenes=400).rows())
    assert len(records) > 60
    first = [r["longer_starts"] == "first" for r in records if r["longer_starts"] != "together"]
    text = [r["longer_text"] == "longer" for r in records if r["longer_text"] != "equal"]
    assert np.mean(first) == np.mean(text) == 0.5


def quiet(folder):
    return (f"task.source.root={folder}", "tracking=none", "figures=false")


def test_all_kinds_run_as_one_task(bench, run_folders, folder):
    bench("task=soundscape", *quiet(folder), "model=random", "task.source.scenes=40", check=0)
    (run,) = run_folders().values()
    analysis = json.loads((run / "analysis.json").read_text())
    kinds = {row["value"]: row["n"] for row in analysis["by_kind"]}
    assert set(kinds) == {"order", "relation", "presence", "duration"}
    assert all(n > 4 for n in kinds.values())
    assert analysis["dataset"]["order"]["questions"] == kinds["order"]
    again = bench("task=soundscape", *quiet(folder), "model=random", "task.source.scenes=40")
    assert "nothing asked" in again.stdout


@pytest.mark.parametrize("task", ["mcq_order", "mcq_relation", "mcq_presence", "mcq_duration"])
def test_every_task_takes_soundscapes(bench, run_folders, folder, task):
    words = (f"task={task}", "task/source=soundscape", "task.source.scenes=40", *quiet(folder))
    bench(*words, "model=random", check=0)
    (run,) = run_folders().values()
    assert json.loads((run / "metrics.json").read_text())["metrics"]["n"] > 4


def test_grounding_takes_soundscapes(bench, run_folders, folder, tmp_path):
    source = drawn(folder, scenes=5)
    samples = Grounding(name="g", prompt="{question}", source=source).samples()
    path = tmp_path / "answers.jsonl"
    lines = [
        {"id": s.id, "output": " and ".join(f"{a}-{b} s" for a, b in s.target)} for s in samples
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("task=grounding", "task/source=soundscape", "task.source.scenes=5", *quiet(folder))
    bench(*words, "model=predictions", f"model.path={path}", check=0)
    (run,) = run_folders().values()
    values = json.loads((run / "metrics.json").read_text())["metrics"]
    assert (values["miou"], values["collar_f1_0.2"], values["invalid_rate"]) == (1, 1, 0)


def test_an_audio_model_hears_soundscapes(bench, run_folders, folder, tmp_path):
    from tests import tiny

    if lacks := tiny.lacking("qwen2_audio"):
        pytest.skip(f"qwen2_audio needs {', '.join(lacks)}")
    model = ("model=qwen2_audio", f"model.path={tiny.build('qwen2_audio', tmp_path / 'tiny')}")
    words = ("task=grounding", "task/source=soundscape", "task.source.scenes=3", *quiet(folder))
    bench(*words, *model, "model.dtype=float32", "limit=3", "task.max_new_tokens=4", check=0)
    (run,) = run_folders().values()
    answers = (run / "responses.jsonl").read_text().splitlines()
    assert [json.loads(a)["usage"]["audio_s"] for a in answers] == [10.0] * 3
