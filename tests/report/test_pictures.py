"""Spectrograms and marks: what is drawn is where it is in the clip."""

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lalm_bench.interventions.speed import SpeedEdit
from lalm_bench.report import marks, spectrogram
from lalm_bench.report.listening import Studio
from lalm_bench.report.marks import runs_of
from lalm_bench.types import AudioRef, AudioSource, Choice, Sample

RATE = 16_000


def tone(hz, seconds, start=0.0, end=None, rate=RATE):
    t = np.arange(round(seconds * rate)) / rate
    on = (t >= start) & (t < (seconds if end is None else end))
    return (0.5 * np.sin(2 * np.pi * hz * t) * on).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.01, 0.2, 3.0, 45.0])
def test_a_tone_stands_where_it_sounds(seconds):
    wave = tone(1000, seconds, seconds / 4, seconds / 2)
    power = spectrogram.mel_power(wave, RATE)
    bands, columns = power.shape
    assert bands == spectrogram.BANDS
    assert 1 <= columns <= spectrogram.MOST_COLUMNS
    if columns < 8:
        return
    mel = 2595 * np.log10(1 + 1000 / 700) / (2595 * np.log10(1 + RATE / 2 / 700))
    assert power.sum(axis=1).argmax() == pytest.approx(mel * (bands + 1) - 1, abs=1.5)
    loud = np.flatnonzero(power.max(axis=0) > 0.25 * power.max()) / columns
    assert loud.min() == pytest.approx(0.25, abs=0.02 + 1 / columns)
    assert loud.max() == pytest.approx(0.5, abs=0.02 + 1 / columns)


def test_decibels_are_relative_to_what_is_loudest():
    """20 dB less power is a quarter of the 80 dB range darker, and silence is the darkest."""
    power = np.array([[1.0, 1e-2, 1e-4, 0.0]])
    image = Image.open(io.BytesIO(spectrogram.picture(power)))
    shades = np.asarray(image)[0].astype(float)
    assert shades == pytest.approx([39, 39 * 0.75, 39 * 0.5, 0], abs=0.51)
    halved = np.asarray(Image.open(io.BytesIO(spectrogram.picture(power, 100.0))))[0].astype(float)
    assert halved == pytest.approx([39 * 0.75, 39 * 0.5, 39 * 0.25, 0], abs=0.51)


def test_high_bands_are_at_the_top():
    image = Image.open(io.BytesIO(spectrogram.picture(spectrogram.mel_power(tone(200, 1), RATE))))
    rows = np.asarray(image).sum(axis=1)
    assert image.size[1] == spectrogram.BANDS
    assert rows.argmax() > 0.8 * spectrogram.BANDS


@pytest.mark.parametrize("wave", [np.zeros(16000, np.float32), np.zeros(1, np.float32)])
def test_silence_has_a_picture(wave):
    image = Image.open(io.BytesIO(spectrogram.picture(spectrogram.mel_power(wave, RATE))))
    assert np.asarray(image).max() == 0


@given(st.lists(st.booleans(), max_size=40))
def test_runs_give_back_what_was_chosen(chosen):
    again = np.zeros(len(chosen), bool)
    runs = runs_of(np.array(chosen, bool))
    for start, end in runs:
        assert end > start
        again[start:end] = True
    assert again.tolist() == chosen
    assert all(a[1] < b[0] for a, b in pairwise(runs))


def test_stretches_of_a_clip_whose_length_changed_are_not_shown(wav, tmp_path):
    clip = AudioRef(str(wav(seconds=1.0)))
    studio = Studio(tmp_path, tmp_path)
    found = studio.heard(AudioSource(clip, (SpeedEdit(2.0),)), AudioSource(clip), RATE)
    assert found["moved"]
    assert found["heard"]["seconds"] == pytest.approx(0.5, abs=0.01)
    assert found["original"]["seconds"] == 1.0


def test_another_clip_is_not_called_the_original(wav, tmp_path):
    one, other = (
        AudioRef(str(wav(name, pitch=hz))) for name, hz in (("a.wav", 300), ("b.wav", 900))
    )
    found = Studio(tmp_path, tmp_path).heard(AudioSource(other), AudioSource(one), RATE)
    assert found["heard"]["src"] != found["original"]["src"]
    assert found["moved"]  # what is annotated in the one is not in the other
    assert len([*tmp_path.glob("clips/*.flac")]) == 2


def test_a_clip_that_cannot_be_read_is_a_note(tmp_path):
    studio = Studio(tmp_path, tmp_path)
    source = AudioSource(AudioRef(str(tmp_path / "gone.wav")))
    assert studio.heard(source, source, RATE) is None
    assert "no such audio file" in next(iter(studio.notes))


def test_events_of_a_part_are_on_its_own_time_axis():
    class Task:
        class source:  # noqa: N801 - an attribute of a task
            @staticmethod
            def rows():
                return [
                    ("a.wav", "bark", "1", "3"),
                    ("a.wav", "far", "8", "9"),
                    ("a.wav", "x", "?", "1"),
                ]

    found = marks.Annotations.of(Task())
    sample = Sample("i", (), "q", (), None, "somewhere else")
    events = found.events(sample, AudioRef("folder/a.wav", 2.0, 6.0))
    assert [(e["start"], e["end"], e["text"]) for e in events] == [(0.0, 1.0, "bark")]


def test_options_that_are_pairs_are_no_spans():
    choices = (Choice("A", "x"),)
    sample = Sample("i", (), "q", choices, "A", "c", {"speech": [[0.5, 1.0]]})
    assert marks.spans(sample, "from 1 to 2 s") == [marks.mark("speech", 0.5, 1.0)]
