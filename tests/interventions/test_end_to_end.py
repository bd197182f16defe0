"""Whole runs under every audio intervention: generated clips, and real recordings."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_bench.export import export
from lalm_bench.interventions.babble import recordings
from lalm_bench.run import run
from lalm_bench.store import read_json
from tests.interventions.clips import composed

INTERVENTIONS = {
    "none": (),
    "mask": ("intervention.ratio=0.4",),
    "mask[single]": ("intervention.placement=single", "intervention.fill=noise"),
    "mask[even]": ("intervention.placement=even", "intervention.segment_s=0.5"),
    "mask[published]": ("intervention.placement=published", "intervention.ratio=0.2"),
    "noise": ("intervention.snr_db=-10",),
    "noise[clip]": ("intervention.snr_db=-20", "intervention.policy=clip"),
    "noise[float]": ("intervention.snr_db=0", "intervention.policy=float"),
    "noise[pink]": ("intervention.kind=pink",),
    "silence": (),
    "no_audio": (),
    "swap": (),
    "shuffle_segments": (),
    "reverse": (),
    "gain": (),
    "speed": (),
    "resample": (),
    "trim": (),
    "chain": (
        *("+intervention@intervention.steps.1=swap", "+intervention@intervention.steps.2=mask"),
        *("+intervention@intervention.steps.3=noise", "intervention.steps.3.kind=pink"),
    ),
}
each = pytest.mark.parametrize("named", INTERVENTIONS)


@pytest.fixture
def outputs(tmp_path):
    return f"paths.outputs={tmp_path / 'outputs'}"


def chosen(named):
    return [f"intervention={named.partition('[')[0]}", *INTERVENTIONS[named]]


def results(folder):
    return read_json(Path(folder, "metrics.json"))["metrics"], lines(folder, "decisions.jsonl")


def lines(folder, name):
    return [json.loads(line) for line in Path(folder, name).read_text().splitlines()]


def small(*more):
    families = "task.families=[pitch_order_trivial,count_beeps_trivial]"
    return composed("model=signal", families, "task.scenes=6", *more)


@each
def test_generated_clips_are_answered_under(named, outputs):
    metrics, rows = results(run(small(outputs, *chosen(named))))
    assert metrics["n_errors"] == 0
    assert metrics["n_skipped"] + len(rows) == 12
    kind = named.partition("[")[0]
    if kind == "none":
        assert metrics["accuracy"] == 1
    elif kind in ("silence", "no_audio"):
        assert {row["text"] for row in rows} == {"I cannot tell."}
    elif kind != "swap":
        assert metrics["n_unchanged"] < len(rows)


def test_what_was_done_is_in_decisions_and_metrics(outputs):
    metrics, rows = results(run(small(outputs, *chosen("noise"))))
    assert all(row["snr_db"] == pytest.approx(-10, abs=0.01) for row in rows)
    assert all(0 < row["gain"] < 1 and row["clipped_share"] == 0 for row in rows)
    assert metrics["snr_db"] == pytest.approx(-10, abs=0.01)
    assert (metrics["n_silent"], metrics["n_unchanged"]) == (0, 0)
    clipped, _ = results(run(small(outputs, *chosen("noise[clip]"))))
    assert clipped["clipped_share"] > 0.01
    assert clipped["snr_db"] > -20
    masked, _ = results(run(small(outputs, *chosen("mask"))))
    assert masked["masked_share"] == pytest.approx(0.4, abs=1e-4)


def test_noise_on_silent_clips_is_counted_and_ends_no_run(outputs):
    steps = ("1=silence", "2=noise")
    chain = ["intervention=chain", *(f"+intervention@intervention.steps.{s}" for s in steps)]
    metrics, rows = results(run(small(outputs, *chain)))
    assert metrics["n_silent"] == len(rows) == 12
    assert metrics["n_errors"] == 0
    assert "snr_db" not in metrics


def test_level_zero_gives_the_keys_of_the_baseline(outputs):
    base = responses(run(small(outputs)))
    for words in (
        ("mask", "ratio=0"),
        ("noise", "snr_db=null"),
        ("gain", "db=0"),
        ("speed", "factor=1"),
        ("resample", "rate_hz=null"),
        ("trim", "keep_s=null"),
    ):
        setting = [f"intervention={words[0]}", f"intervention.{words[1]}"]
        assert responses(run(small(outputs, *setting))) == base
    assert responses(run(small(outputs, *chosen("mask")))).isdisjoint(base)


def responses(folder):
    return {row["key"] for row in lines(folder, "responses.jsonl")}


# --------------------------------------------------------------------------- real recordings


def exported(tmp_path, *words):
    """Request lines and waves of a condition, exactly as a model would hear them."""
    place = tmp_path / "requests"
    export(composed("stage=export", "model=predictions", f"export.folder={place}", *words))
    rows = lines(place, "requests.jsonl")
    waves = {}
    for row in rows:
        for part in row["messages"][-1]["content"]:
            if part["type"] == "audio":
                wave, rate = soundfile.read(place / part["audio"], dtype="float32")
                assert rate == 16_000
                waves[row["id"]] = wave
    return rows, waves


@each
def test_sakuras_recordings_are_heard_under(named, shared_data, tmp_path):
    sakura = ("task=sakura", f"task.root={shared_data / 'sakura'}", "export.rate=16000")
    rows, waves = exported(tmp_path, *sakura, "limit=40", *chosen(named))
    assert len(rows) == 40
    assert len(waves) == (0 if named == "no_audio" else 40)
    assert all(len(w) and np.isfinite(w).all() for w in waves.values())
    if named in ("noise", "noise[pink]"):
        assert max(np.abs(w).max() for w in waves.values()) <= 1


def test_runs_on_sakura_are_whole(shared_data, outputs):
    sakura = ("task=sakura", f"task.root={shared_data / 'sakura'}", "model=signal", "limit=20")
    for named in INTERVENTIONS:
        metrics, rows = results(run(composed(*sakura, outputs, *chosen(named))))
        assert (len(rows), metrics["n_errors"], metrics["n_skipped"]) == (20, 0, 0)


def test_swaps_on_sakura_never_keep_the_attribute(shared_data, tmp_path):
    words = ("task=sakura", f"task.root={shared_data / 'sakura'}", "export.rate=16000")
    _, plain = exported(tmp_path / "plain", *words, "task.track=gender")
    _, swapped = exported(tmp_path / "swap", *words, "task.track=gender", "intervention=swap")
    meta = (shared_data / "sakura/data/Gender/metadata.csv").read_text(encoding="utf-8-sig")
    male = {
        line.split(",")[0].removesuffix(".wav")
        for line in meta.splitlines()
        if ",male," in line.lower()
    }
    owners = {
        wave.tobytes(): identity.split("_", 2)[2].rsplit("_", 1)[0]
        for identity, wave in plain.items()
    }
    assert 0 < len(male) < len(owners)
    for identity, wave in swapped.items():
        own, other = identity.split("_", 2)[2].rsplit("_", 1)[0], owners[wave.tobytes()]
        assert (own in male) != (other in male)


def test_jascos_speech_is_masked_and_the_rest_left_as_it_was(shared_data, tmp_path):
    """The published example: clip 1, silent from 7.1 to 9.2 s, identical everywhere else."""
    segments = tmp_path / "segments.csv"
    segments.write_text("audio_id,start,end\n1,7.1,9.2\n2,0.5,99\n")
    words = (
        *("task=jasco", f"task.root={shared_data / 'jasco'}", "export.rate=16000"),
        *(f"task.segments={segments}", "intervention=mask", "intervention.ratio=1"),
    )
    _, speech = exported(tmp_path / "speech", *words, "intervention.region=speech")
    _, background = exported(tmp_path / "background", *words, "intervention.region=background")
    assert speech.keys() == background.keys() == {"1", "2"}
    for identity, (first, last) in {"1": (7.1, 9.2), "2": (0.5, 99)}.items():
        path = shared_data / f"jasco/dataset/v0/{identity}.wav"
        wave, _ = soundfile.read(path, dtype="float32")
        inside = np.zeros(len(wave), bool)
        inside[round(first * 16_000) : round(last * 16_000)] = True
        assert np.array_equal(speech[identity], np.where(inside, 0, wave))
        assert np.array_equal(background[identity], np.where(inside, wave, 0))


def test_babble_of_real_recordings_over_a_real_recording(shared_data, tmp_path):
    place = shared_data / "sakura/data/Language/audio"
    assert len(recordings(str(place))) == 40
    words = ("task=jasco", f"task.root={shared_data / 'jasco'}", "export.rate=16000", "limit=5")
    babble = ("intervention=noise", "intervention.kind=babble", f"intervention.recordings={place}")
    _, plain = exported(tmp_path / "plain", *words)
    _, noisy = exported(
        tmp_path / "noisy", *words, *babble, "intervention.snr_db=5", "intervention.policy=float"
    )
    for identity, wave in plain.items():
        noise = noisy[identity].astype(float) - wave
        ratio = np.mean(wave.astype(float) ** 2) / np.mean(noise**2)
        assert 10 * np.log10(ratio) == pytest.approx(5, abs=0.01)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("intervention=mask", "intervention.ratio=20"), "intervention.ratio=20 must be"),
        (("intervention=noise", "intervention.kind=blue"), "one of white, pink, babble"),
        (("intervention=noise", "intervention.kind=babble"), "needs intervention.recordings"),
        (("intervention=chain",), "+intervention@intervention.steps.1=mask"),
        (("intervention=mask", "intervention.region=speech"), "task.segments=FILE.csv"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(words, message, bench):
    done = bench("tracking=none", *words, check=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not [*bench.outputs.rglob("run.json")]
