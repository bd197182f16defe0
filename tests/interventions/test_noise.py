"""Noise: the ratio asked for, what each policy does to it, and babble from a folder."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench import audio
from lalm_bench.errors import AudioError, ConfigError
from lalm_bench.interventions.loudness import PEAK, POLICIES, power, settle
from lalm_bench.interventions.noise import Noise, NoiseEdit
from lalm_bench.interventions.pink import pink
from lalm_bench.types import Context
from tests.interventions.clips import RATE, asked, edited, facts, heard, item, wave

levels = st.floats(-40, 60)
seeds = st.integers(0, 2**62)
drawn = st.sampled_from(("white", "pink"))


def ratio(plain, noise):
    return 10 * np.log10(np.mean(plain.astype(float) ** 2) / np.mean(noise.astype(float) ** 2))


@settings(deadline=None)
@given(levels, seeds, drawn, st.integers(1, 5000), st.floats(1e-4, 1))
def test_float_noise_has_the_ratio_asked_for(snr_db, seed, kind, samples, level):
    plain = wave(samples, seed % 97, level)
    if not plain.any():
        return
    edit = NoiseEdit(snr_db, seed, kind, "float")
    noise = edited(edit, plain).astype(float) - plain
    assert ratio(plain, noise) == pytest.approx(snr_db, abs=0.01)
    assert facts(edit, plain)["snr_db"] == pytest.approx(snr_db, abs=0.01)


@settings(deadline=None)
@given(levels, seeds, drawn, st.integers(1, 5000), st.floats(1e-4, 1))
def test_rescaling_keeps_the_ratio_and_the_peak(snr_db, seed, kind, samples, level):
    plain = wave(samples, seed % 97, level)
    if not plain.any():
        return
    edit = NoiseEdit(snr_db, seed, kind)
    noisy, done = edited(edit, plain), facts(edit, plain)
    assert np.abs(noisy).max() <= max(PEAK, np.abs(plain).max()) + 1e-6
    assert done["gain"] == 1 or np.abs(noisy).max() == pytest.approx(PEAK, abs=1e-5)
    # The scale is told, so that the noise can be had back.
    assert ratio(plain, noisy / done["gain"] - plain) == pytest.approx(snr_db, abs=0.01)
    assert done["snr_db"] == pytest.approx(snr_db, abs=0.01)
    assert done["clipped_share"] == 0


def test_levels_of_one_clip_differ_by_scale_alone():
    plain = wave()
    loud, soft = (edited(NoiseEdit(s, 3, "white", "float"), plain) - plain for s in (0.0, 20.0))
    assert np.corrcoef(loud, soft)[0, 1] == pytest.approx(1, abs=1e-4)


def test_clipping_is_a_16_bit_file_and_its_true_ratio_is_told(tmp_path):
    """At -20 dB a loud clip loses almost 3 dB of its noise, as in the published audio."""
    plain = (0.2 * np.random.default_rng(1).standard_normal(50_000)).clip(-1, 1)
    plain = plain.astype(np.float32)
    edit = NoiseEdit(-20.0, 5, "white", "clip")
    noisy, done = edited(edit, plain), facts(edit, plain)
    assert noisy.max() <= 1 - 1 / 32768
    assert noisy.min() == -1
    assert done["clipped_share"] > 0.3
    assert done["snr_db"] > -18
    assert done["snr_db"] == pytest.approx(ratio(plain, noisy.astype(float) - plain), abs=0.01)
    soundfile.write(tmp_path / "x.wav", (noisy * 32768).astype(np.int16), RATE)
    assert np.array_equal(soundfile.read(tmp_path / "x.wav", dtype="float32")[0], noisy)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["white", "pink"])
def test_a_silent_clip_stays_as_it_is_and_says_so(policy, kind):
    for samples in (1, 100):
        silent = np.zeros(samples, np.float32)
        edit = NoiseEdit(0.0, 1, kind, policy)
        assert not edited(edit, silent).any()
        assert facts(edit, silent) == {"silent": 1.0}


def test_pink_noise_falls_by_three_decibels_an_octave():
    spectrum = np.abs(np.fft.rfft(pink(1 << 16, np.random.default_rng(0)))) ** 2
    bands = [spectrum[1 << k : 2 << k].mean() for k in range(4, 15)]
    assert np.diff(10 * np.log10(bands)).mean() == pytest.approx(-3.01, abs=0.2)


@settings(deadline=None)
@given(st.integers(0, 300), st.floats(-60, 60))
def test_power_is_the_mean_square(samples, db):
    values = wave(samples or 1, 1, 10 ** (db / 20))[:samples]
    expected = np.mean(values.astype(float) ** 2) if samples else 0
    assert power(values) == pytest.approx(expected, rel=1e-6)


def test_what_is_within_full_scale_is_not_rescaled():
    plain = wave(level=0.5)
    settled = settle(plain.copy(), "rescale")
    assert settled.gain == 1
    assert np.array_equal(settled.wave, plain)


# --------------------------------------------------------------------------- babble


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "voices"
    place.mkdir()
    for number in range(8):
        soundfile.write(place / f"{number}.wav", wave(900 + number, number), RATE)
    (place / "notes.txt").write_text("not a recording")
    return place


def babble(folder, snr_db=0.0, **more):
    return Noise(snr_db, kind="babble", recordings=str(folder), **more)


def test_babble_has_the_ratio_asked_for_and_loops(folder, wav):
    sample = item(path=wav(seconds=3.0, rate=RATE))
    plain = audio.render(asked(sample).clips()[0], RATE)
    noisy = heard(babble(folder, policy="float"), sample, rate=RATE)
    assert ratio(plain, noisy - plain) == pytest.approx(0, abs=0.01)


def test_babble_is_named_by_its_bytes_and_not_by_its_place(folder, wav, tmp_path):
    sample = item(path=wav(seconds=1.0, rate=RATE))

    def source(place):
        return babble(place).apply(sample, asked(sample), Context(7)).clips()[0]

    before = audio.digest(source(folder), RATE)
    moved = folder.rename(tmp_path / "elsewhere")
    assert audio.digest(source(moved), RATE) == before
    (voice, *_) = source(moved).edits[0].voices
    soundfile.write(voice, wave(901, 99), RATE)
    assert audio.digest(source(moved), RATE) != before


def test_babble_mixes_as_many_voices_as_asked(folder):
    sample = item()
    for voices, expected in ((1, 1), (3, 3), (99, 8)):
        request = babble(folder, voices=voices).apply(sample, asked(sample), Context(7))
        assert len({*request.clips()[0].edits[0].voices}) == expected


def test_silent_recordings_are_an_error_of_the_item(tmp_path, wav):
    place = tmp_path / "mute"
    place.mkdir()
    soundfile.write(place / "x.wav", np.zeros(500), RATE)
    with pytest.raises(AudioError, match="silent"):
        heard(babble(place), item(path=wav()), rate=RATE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"snr_db": float("inf")}, r"intervention\.snr_db"),
        ({"snr_db": float("nan")}, r"intervention\.snr_db"),
        ({"snr_db": "loud"}, r"intervention\.snr_db"),
        ({"snr_db": True}, r"intervention\.snr_db"),
        ({"snr_db": 300}, r"intervention\.snr_db"),
        ({"kind": "brown"}, r"intervention\.kind='brown' must be one of white, pink, babble"),
        ({"policy": "hope"}, r"intervention\.policy"),
        ({"kind": "babble"}, r"needs intervention\.recordings"),
        ({"kind": "babble", "recordings": "nowhere"}, "no such folder"),
        ({"kind": "babble", "recordings": "."}, "no recording in it"),
        ({"kind": "babble", "recordings": ".", "voices": 0}, r"intervention\.voices"),
    ],
)
def test_impossible_settings_are_refused(wrong, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message) as refusal:
        Noise(**({"snr_db": 0} | wrong))
    assert "\n" not in str(refusal.value)


def test_no_level_is_the_request_itself():
    request = asked(item())
    assert Noise(None).apply(item(), request, Context(7)) is request
