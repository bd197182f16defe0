import hashlib

import numpy as np
import pytest
import soundfile

from lalm_bench import audio
from lalm_bench.errors import AudioError
from lalm_bench.interventions.mask import MaskEdit
from lalm_bench.tasks.synthetic.catalogue import FAMILIES
from lalm_bench.tasks.synthetic.clip import SceneClip
from lalm_bench.types import AudioRef, AudioSource


def source(path, *edits, start=None, end=None):
    return AudioSource(AudioRef(str(path), start, end), edits)


def test_render_is_mono_float32_at_the_rate_asked(wav):
    wave = audio.render(source(wav(seconds=2.0, rate=44100, channels=2)), 16000)
    assert wave.dtype == np.float32
    assert wave.shape == (32000,)
    spectrum = np.abs(np.fft.rfft(wave))
    assert np.argmax(spectrum) * 16000 / len(wave) == pytest.approx(440, abs=1)


def test_same_rate_is_bit_exact(tmp_path):
    samples = np.random.default_rng(0).integers(-30000, 30000, 5000).astype(np.int16)
    soundfile.write(tmp_path / "x.wav", samples, 16000)
    assert np.array_equal(
        audio.render(source(tmp_path / "x.wav"), 16000), samples / np.float32(32768)
    )


def test_a_part_is_the_slice(wav):
    path = wav(seconds=3.0)
    whole = audio.render(source(path), 16000)
    part = audio.render(source(path, start=1.0, end=2.5), 16000)
    assert np.array_equal(part, whole[16000:40000])
    assert audio.seconds(source(path, start=1.0, end=2.5)) == pytest.approx(1.5)


def test_a_part_outside_the_file_is_refused(wav):
    with pytest.raises(AudioError, match="outside"):
        audio.render(source(wav(seconds=1.0), start=1.5), 16000)


def test_digest_follows_content_not_place(wav, tmp_path):
    first, second = wav("a.wav"), wav("deep/b.wav")
    other = wav("c.wav", pitch=441.0)
    assert audio.digest(source(first), 16000) == audio.digest(source(second), 16000)
    assert audio.digest(source(first), 16000) != audio.digest(source(other), 16000)
    assert hashlib.blake2b(first.read_bytes(), digest_size=16).hexdigest() in audio.digest(
        source(first), 16000
    )


def test_digest_tells_parts_edits_and_rates_apart(wav):
    path = wav()
    digests = {
        audio.digest(source(path), 16000),
        audio.digest(source(path), 24000),
        audio.digest(source(path, start=0.1), 16000),
        audio.digest(source(path, MaskEdit(0.2, 0.25, 1)), 16000),
        audio.digest(source(path, MaskEdit(0.4, 0.25, 1)), 16000),
        audio.digest(source(path, MaskEdit(0.4, 0.25, 2)), 16000),
    }
    assert len(digests) == 6


def test_digest_notices_a_changed_file(wav):
    path = wav()
    before = audio.digest(source(path), 16000)
    wav(pitch=300.0, seconds=1.1)
    assert audio.digest(source(path), 16000) != before


@pytest.mark.parametrize("content", [b"", b"not audio at all", b"RIFF\x00\x00\x00\x00WAVE"])
def test_unreadable_files_are_named(tmp_path, content):
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    for call in (lambda: audio.probe(str(path)), lambda: audio.render(source(path), 16000)):
        with pytest.raises(AudioError, match=r"bad\.wav"):
            call()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav: no such audio file"):
        audio.render(source(tmp_path / "gone.wav"), 16000)


def test_empty_file_is_refused(tmp_path):
    soundfile.write(tmp_path / "e.wav", np.zeros(0), 16000)
    with pytest.raises(AudioError, match="no samples"):
        audio.probe(str(tmp_path / "e.wav"))


def test_edits_run_in_order_and_leave_the_file_alone(wav):
    path = wav()
    before = path.read_bytes()
    masked = audio.render(source(path, MaskEdit(1.0, 0.25, 3)), 16000)
    assert not masked.any()
    assert path.read_bytes() == before


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_synthesised_clip_knows_its_length_without_being_computed(family, compat):
    for index in range(6):
        clip = SceneClip(family, "easy", index, 7, compat)
        wave, rate = clip.synthesise()
        assert audio.seconds(AudioSource(clip)) == pytest.approx(len(wave) / rate, abs=1 / rate)
