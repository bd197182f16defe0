"""What holds for every audio edit, and what each of the small ones does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench import audio
from lalm_bench.errors import AudioError, ConfigError
from lalm_bench.interventions.bandwidth import Bandwidth, BandwidthEdit
from lalm_bench.interventions.gain import Gain, GainEdit
from lalm_bench.interventions.mask import Mask, MaskEdit
from lalm_bench.interventions.noise import Noise, NoiseEdit
from lalm_bench.interventions.reverse import Reverse, ReverseEdit
from lalm_bench.interventions.shuffle_segments import ShuffleEdit, ShuffleSegments
from lalm_bench.interventions.silence import NoAudio, Silence, SilenceEdit
from lalm_bench.interventions.speed import Speed, SpeedEdit
from lalm_bench.interventions.trim import Trim, TrimEdit
from lalm_bench.types import AudioRef, AudioSource, Context, Skip, Text
from tests.interventions.clips import RATE, asked, edited, facts, heard, item, wave

EDITS = [
    MaskEdit(0.5, 0.1, 3),
    MaskEdit(0.5, 0.1, 3, "single", "noise"),
    MaskEdit(0.5, 0.1, 3, "even"),
    MaskEdit(0.5, 0.1, 3, "published"),
    NoiseEdit(0.0, 3),
    NoiseEdit(0.0, 3, "pink", "clip"),
    SilenceEdit(),
    ShuffleEdit(0.1, 3),
    ReverseEdit(),
    GainEdit(12.0, "clip"),
    GainEdit(-12.0, "float"),
    SpeedEdit(1.37),
    SpeedEdit(0.4),
    BandwidthEdit(311),
    TrimEdit(0.0, 0.5),
]
IDLE = [
    Mask(0),
    Noise(None),
    Gain(0),
    Speed(1),
    Bandwidth(None),
    Trim(),
]
ACTIVE = [
    *(Mask(0.3), Mask(0.3, "even", fill="noise"), Noise(10), Silence(), ShuffleSegments(0.1)),
    *(Reverse(), Gain(-6), Speed(1.2), Bandwidth(4000), Trim(keep_s=0.5)),
]


@pytest.mark.parametrize("edit", EDITS, ids=repr)
@settings(deadline=None)
@given(samples=st.integers(1, 3000), level=st.floats(0, 1))
def test_an_edit_is_finite_float32_of_any_length_and_leaves_its_input(edit, samples, level):
    plain = wave(samples, 1, level)
    after = edited(edit, plain)
    assert np.array_equal(after, edited(edit, plain))
    if not isinstance(edit, SpeedEdit | TrimEdit):
        assert len(after) == len(plain)
    if hasattr(edit, "facts"):
        assert all(isinstance(v, float | int) for v in facts(edit, plain).values())


@pytest.mark.parametrize("intervention", IDLE, ids=repr)
def test_what_changes_nothing_is_the_request_itself(intervention):
    request = asked(item())
    assert intervention.apply(item(), request, Context(7)) is request


@pytest.mark.parametrize("intervention", ACTIVE, ids=repr)
def test_every_clip_is_edited_and_the_text_stays(intervention, wav):
    sample = item(path=wav())
    request = intervention.apply(sample, asked(sample, clips=2), Context(7))
    assert request == intervention.apply(sample, asked(sample, clips=2), Context(7))
    edits = [source.edits for source in request.clips()]
    assert [len(e) for e in edits] == [1, 1]
    if edits[0][0].seed:
        assert edits[0][0].seed != edits[1][0].seed
    assert [p for m in request.messages for p in m.parts if isinstance(p, Text)] == [Text("?")]
    assert request.choices == sample.choices


@pytest.mark.parametrize("intervention", ACTIVE, ids=repr)
def test_an_items_bytes_depend_on_the_item_alone(intervention, wav):
    """Sharding, batches and order are nothing to an edit."""
    samples = [item(f"i{n}", wav(f"{n}.wav", pitch=300.0 + n), str(n)) for n in range(4)]
    alone = [heard(intervention, s) for s in samples]
    among = [heard(intervention, s, samples=samples) for s in reversed(samples)]
    for one, other in zip(alone, reversed(among), strict=True):
        assert np.array_equal(one.view(np.uint32), other.view(np.uint32))


def test_no_audio_keeps_the_text():
    (message,) = NoAudio().apply(item(), asked(item()), Context(7)).messages
    assert message.parts == (Text("?"),)


def test_silence_is_as_long_as_the_clip():
    assert edited(SilenceEdit(), wave(321)).tolist() == [0] * 321


# --------------------------------------------------------------------------- time


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(0.001, 3), st.integers(0, 2**62))
def test_shuffling_loses_and_repeats_no_sample(samples, segment, seed):
    plain = np.arange(1, samples + 1, dtype=np.float32)
    after = edited(ShuffleEdit(segment, seed), plain)
    assert np.array_equal(np.sort(after), plain)
    breaks = np.count_nonzero(np.diff(after) != 1)
    assert breaks < -(-samples // max(1, round(segment * RATE)))


def test_shuffling_depends_on_the_seed():
    orders = {edited(ShuffleEdit(0.1, seed), wave()).tobytes() for seed in range(5)}
    assert len(orders) == 5


@settings(deadline=None)
@given(st.integers(1, 500))
def test_backwards_twice_is_forwards(samples):
    plain = wave(samples)
    assert np.array_equal(edited(ReverseEdit(), edited(ReverseEdit(), plain)), plain)


@settings(deadline=None)
@given(st.floats(0.1, 10), st.integers(1, 3000))
def test_speed_divides_the_length(factor, samples):
    after = edited(SpeedEdit(factor), wave(samples))
    assert len(after) == max(1, round(samples / factor))


def test_speed_moves_the_pitch_and_keeps_the_level():
    tone = (0.5 * np.sin(2 * np.pi * 100 * np.arange(8000) / 8000)).astype(np.float32)
    fast = edited(SpeedEdit(2.0), tone, 8000)
    assert np.abs(np.fft.rfft(fast)).argmax() * 8000 / len(fast) == pytest.approx(200, abs=2)
    assert fast[500:-500].std() == pytest.approx(tone.std(), rel=0.01)


def test_a_narrow_band_loses_what_is_above_and_nothing_below():
    t = np.arange(16_000) / 16_000
    low, high = (0.4 * np.sin(2 * np.pi * f * t) for f in (500, 6000))
    after = edited(BandwidthEdit(8000), (low + high).astype(np.float32), 16_000)
    spectrum = np.abs(np.fft.rfft(after)) / len(after) * 2
    assert spectrum[500] == pytest.approx(0.4, abs=0.01)
    assert spectrum[4200:].max() < 1e-3


def test_a_band_that_is_wide_enough_changes_nothing(wav):
    sample = item(path=wav())
    told = {}
    (source,) = Bandwidth(44_100).apply(sample, asked(sample), Context(7)).clips()
    plain = audio.render(asked(sample).clips()[0], 16_000)
    assert np.array_equal(audio.render(source, 16_000, told), plain)
    assert told == {"unchanged": 1.0}


def test_a_part_is_kept():
    plain = wave(2000)
    assert np.array_equal(edited(TrimEdit(0.5, 1.25), plain), plain[500:1250])
    assert np.array_equal(edited(TrimEdit(0.5, None), plain), plain[500:])
    assert np.array_equal(edited(TrimEdit(0.0, 9.0), plain), plain)
    with pytest.raises(AudioError, match=r"a clip of 2\.000 s has nothing left"):
        edited(TrimEdit(2.0, None), plain)


def test_a_clip_that_ends_too_early_is_skipped(wav):
    short, long = (item(n, wav(f"{n}.wav", seconds=s)) for n, s in (("a", 0.5), ("b", 2.0)))
    trim = Trim(start=1.0)
    assert trim.apply(short, asked(short), Context(7)) == Skip(
        "the clip ends before the part that is kept"
    )
    assert len(heard(trim, long)) == 16_000
    assert len(heard(Trim(start=1.0, keep_s=0.25), long)) == 4000


# --------------------------------------------------------------------------- level


def test_gain_is_told_as_it_was():
    plain = wave(level=0.3)
    soft = facts(GainEdit(-20.0, "float"), plain)
    assert soft == {"gain": pytest.approx(0.1), "clipped_share": 0}
    assert edited(GainEdit(-20.0, "float"), plain) == pytest.approx(plain / 10)
    assert facts(GainEdit(20.0, "clip"), plain)["clipped_share"] > 0.3
    assert np.abs(edited(GainEdit(20.0, "clip"), plain)).max() <= 1
    bounded = facts(GainEdit(20.0, "rescale"), plain)
    assert bounded["gain"] == pytest.approx(0.99 / 0.3, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gain("loud"), r"intervention\.db='loud'"),
        (lambda: Gain(6, policy="hope"), r"intervention\.policy"),
        (lambda: Speed(0), r"intervention\.factor=0 must be a number from 0\.1 to 10"),
        (lambda: Bandwidth(0), r"intervention\.rate_hz"),
        (lambda: ShuffleSegments(-1), r"intervention\.segment_s"),
        (lambda: Trim(start=-1), r"intervention\.start"),
        (lambda: Trim(start=2, end=1), r"intervention\.end"),
        (lambda: Trim(keep_s=0), r"intervention\.keep_s"),
        (lambda: Trim(end=1, keep_s=1), r"exclude each other"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def test_edits_are_told_apart_by_their_digests(wav):
    ref = AudioRef(str(wav()))
    digests = {audio.digest(AudioSource(ref, (edit,)), 16_000) for edit in EDITS}
    assert len(digests) == len(EDITS)
