import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.mask import Mask, MaskEdit
from lalm_bench.interventions.noise import Noise, NoiseEdit
from lalm_bench.interventions.silence import NoAudio, Silence
from lalm_bench.types import Audio, AudioRef, AudioSource, Context, Message, Request, Sample, Text

RATE = 1000
WAVE = (np.random.default_rng(0).random(2345) + 0.1).astype(np.float32)
SAMPLE = Sample("item", (), "?", (), "A", "c")
REQUEST = Request(
    "item",
    (
        Message(
            "user",
            (
                Audio(AudioSource(AudioRef("x.wav"))),
                Text("?"),
                Audio(AudioSource(AudioRef("y.wav"))),
            ),
        ),
    ),
)


def edited(edit, wave=WAVE):
    return edit(wave, RATE, np.random.default_rng(edit.seed))


@given(st.floats(0, 1), st.integers(1, 4000), st.integers(0, 99))
def test_mask_zeroes_exactly_its_share(ratio, length, seed):
    wave = np.ones(length, np.float32)
    masked = edited(MaskEdit(ratio, 0.1, seed), wave)
    assert (masked == 0).sum() == round(ratio * length)
    assert wave.all()


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_mask_levels_are_nested(a, b, seed):
    low, high = sorted((a, b))
    weak, strong = edited(MaskEdit(low, 0.1, seed)), edited(MaskEdit(high, 0.1, seed))
    assert not strong[weak == 0].any()
    assert np.array_equal(weak[weak != 0], WAVE[weak != 0])


@given(st.floats(-40, 60), st.integers(0, 99))
def test_noise_has_the_ratio_asked_for(snr_db, seed):
    noisy = edited(NoiseEdit(snr_db, seed)).astype(float)
    power = np.mean((noisy - WAVE) ** 2)
    achieved = 10 * np.log10(np.mean(WAVE.astype(float) ** 2) / power)
    assert achieved == pytest.approx(snr_db, abs=0.05)


def test_noise_on_silence_is_silence():
    assert not edited(NoiseEdit(0.0, 1), np.zeros(100, np.float32)).any()


@pytest.mark.parametrize("make", [lambda: Mask(0.3), lambda: Noise(10), Silence])
def test_every_clip_is_edited_and_draws_its_own_seed(make):
    request = make().apply(SAMPLE, REQUEST, Context(7))
    edits = [source.edits for source in request.clips()]
    assert [len(e) for e in edits] == [1, 1]
    if not isinstance(make(), Silence):
        assert edits[0][0].seed != edits[1][0].seed
    again = make().apply(SAMPLE, REQUEST, Context(7))
    assert again == request
    assert [p for m in request.messages for p in m.parts if isinstance(p, Text)] == [Text("?")]


def test_level_zero_is_the_baseline_itself():
    assert Mask(0.0).apply(SAMPLE, REQUEST, Context(7)) is REQUEST


def test_no_audio_keeps_the_text():
    (message,) = NoAudio().apply(SAMPLE, REQUEST, Context(7)).messages
    assert message.parts == (Text("?"),)


@pytest.mark.parametrize("ratio", [-0.01, 1.01, float("nan"), "much", True, None])
def test_impossible_ratios_are_refused(ratio):
    with pytest.raises(ConfigError, match=r"intervention\.ratio"):
        Mask(ratio)


@pytest.mark.parametrize("snr", [float("inf"), float("nan"), "loud", True])
def test_impossible_levels_are_refused(snr):
    with pytest.raises(ConfigError, match=r"intervention\.snr_db"):
        Noise(snr)
