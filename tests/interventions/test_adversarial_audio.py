"""Spoken answers in clips: what is inserted, where, how loud, and by whom."""

import shutil
import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench import audio, speech
from lalm_bench.errors import AudioError, ConfigError, DataError
from lalm_bench.interventions.adversarial_audio import NOMINAL_DBFS, AdversarialAudio, SpokenEdit
from lalm_bench.interventions.loudness import power
from lalm_bench.interventions.silence import SilenceEdit
from lalm_bench.speech.espeak_ng import EspeakNg
from lalm_bench.speech.recordings import Recordings, file_name
from lalm_bench.speech.tones import Tones, ToneUtterance
from lalm_bench.types import (
    Audio,
    AudioRef,
    AudioSource,
    Choice,
    Context,
    Message,
    Request,
    Sample,
    Skip,
    Text,
)

RATE = 8000
DOG = ToneUtterance("dog")
ESPEAK = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed (apt install espeak-ng)"
)
CHOICES = (Choice("a", "cat"), Choice("b", "dog"), Choice("c", "hen"), Choice("d", "pig"))


def clip(samples=4000, seed=0, level=0.1):
    wave = np.random.default_rng(seed).standard_normal(samples) * level
    return wave.astype(np.float32)


def edit(mode="splice", repeats=1, gain_db=0.0, seed=3, utterance=DOG):
    return SpokenEdit(utterance, mode, repeats, gain_db, seed)


def edited(change, wave, rate=RATE):
    """The edited clip and its facts."""
    after = change(wave, rate, np.random.default_rng(change.seed))
    return after, change.facts(wave, after, rate)


def places(facts, repeats):
    return [int(facts[f"spoken_at_{i}"]) for i in range(1, repeats + 1)]


levels = st.floats(1e-4, 1.0)
seeds = st.integers(0, 2**62)
lengths = st.integers(1, 9000)
repeated = st.integers(1, 3)


@given(lengths, seeds, repeated, levels, st.floats(-30, 30))
@settings(deadline=None)
def test_what_is_spliced_in_can_be_taken_out_bit_for_bit(samples, seed, repeats, level, gain):
    wave = clip(samples, seed, level)
    untouched = wave.copy()
    after, facts = edited(edit("splice", repeats, gain, seed), wave)
    said = int(facts["spoken_samples"])
    assert after.dtype == np.float32
    assert len(after) == samples + repeats * said
    assert facts["inserted_s"] == facts["spoken_s"] == repeats * said / RATE
    starts = places(facts, repeats)
    assert starts == sorted(starts)
    inserted = np.concatenate([np.arange(start, start + said) for start in starts])
    assert len(set(inserted)) == repeats * said
    assert np.delete(after, inserted).tobytes() == wave.tobytes()
    assert wave.tobytes() == untouched.tobytes()


@given(lengths, seeds, levels, st.floats(-30, 30), st.sampled_from(["splice", "concat"]))
@settings(deadline=None)
def test_it_is_as_loud_as_asked(samples, seed, level, gain, mode):
    wave = clip(samples, seed, level)
    after, facts = edited(edit(mode, 1, gain, seed), wave)
    (start,) = places(facts, 1)
    said = after[start : start + int(facts["spoken_samples"])]
    achieved = 10 * np.log10(power(said) / power(wave))
    assert achieved == pytest.approx(gain, abs=0.01)
    assert facts["spoken_rms_db"] == pytest.approx(achieved, abs=1e-6)


@given(lengths, seeds, repeated)
@settings(deadline=None)
def test_overlay_leaves_the_rest_and_adds_the_utterance(samples, seed, repeats):
    wave = clip(samples, seed)
    after, facts = edited(edit("overlay", repeats, 0.0, seed), wave)
    said, starts = int(facts["spoken_samples"]), places(facts, repeats)
    assert len(after) == max(samples, repeats * said)
    assert facts["inserted_s"] == (len(after) - samples) / RATE
    rest = np.pad(wave, (0, len(after) - samples))
    spoken = speech.spoken(DOG, RATE)
    scale = np.sqrt(power(wave) / power(spoken))
    covered = np.zeros(len(after), bool)
    for start in starts:
        assert not covered[start : start + said].any(), "utterances overlap"
        covered[start : start + said] = True
        added = after[start : start + said] - rest[start : start + said]
        assert added == pytest.approx(spoken * scale, abs=1e-5)
    assert np.array_equal(after[~covered], rest[~covered])


def test_concat_speaks_after_the_clip():
    wave = clip()
    after, facts = edited(edit("concat", 2), wave)
    said = int(facts["spoken_samples"])
    assert np.array_equal(after[:4000], wave)
    assert places(facts, 2) == [4000, 4000 + said]
    assert np.array_equal(after[4000 : 4000 + said], after[4000 + said :])


def test_places_vary_with_the_seed_and_cover_the_clip():
    wave = clip()
    starts = [places(edited(edit(seed=seed), wave)[1], 1)[0] for seed in range(300)]
    counts, _ = np.histogram(starts, 4, (0, 4001))
    assert counts.min() > 45
    assert starts == [places(edited(edit(seed=seed), wave)[1], 1)[0] for seed in range(300)]


def test_a_silent_clip_hears_speech_at_its_nominal_level():
    wave = np.zeros(4000, np.float32)
    after, facts = edited(edit("overlay", gain_db=6.0), wave)
    (start,) = places(facts, 1)
    said = after[start : start + int(facts["spoken_samples"])]
    assert 10 * np.log10(power(said)) == pytest.approx(NOMINAL_DBFS + 6, abs=0.01)
    assert "spoken_rms_db" not in facts


def test_the_digest_hears_who_says_what_and_not_where_it_lies(tmp_path, wav):
    source = AudioSource(AudioRef(str(wav("clip.wav"))))

    def digest(**settings):
        return audio.digest(replace(source, edits=(edit(**settings),)), RATE)

    for folder, pitch in (("one", 300), ("same", 300), ("other", 500)):
        wav(f"{folder}/dog.wav", 0.3, pitch=pitch)
    one, same, other = (
        Recordings(str(tmp_path / name)).say(CHOICES[1]) for name in ("one", "same", "other")
    )
    digests = [
        digest(),
        digest(utterance=ToneUtterance("cat")),
        digest(seed=4),
        digest(gain_db=1.0),
        digest(repeats=2),
        digest(mode="overlay"),
        digest(utterance=one),
        digest(utterance=other),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(utterance=one) == digest(utterance=same)


# ------------------------------------------------------------------ the intervention


def item(name="q1", target="b", choices=CHOICES, clips=1):
    files = tuple(AudioRef(f"{n}.wav") for n in range(clips))
    sample = Sample(name, files, "?", choices, target, "clip")
    heard = tuple(Audio(AudioSource(file)) for file in files)
    return sample, Request(name, (Message("user", (*heard, Text("?"))),), choices, "?")


def apply(change, pair=None, seed=7):
    sample, request = pair or item()
    return change.apply(sample, request, Context(seed, [sample]))


def utterances(request):
    return [e.utterance.text for clip in request.clips() for e in clip.edits]


def test_right_and_wrong_answers_are_said_in_every_clip():
    assert utterances(apply(AdversarialAudio(Tones(), "right"), item(clips=2))) == ["dog", "dog"]
    wrong = [utterances(apply(AdversarialAudio(Tones()), item(f"q{n}")))[0] for n in range(200)]
    assert {w: wrong.count(w) > 40 for w in set(wrong)} == dict.fromkeys(
        ["cat", "hen", "pig"], True
    )
    again = [utterances(apply(AdversarialAudio(Tones()), item(f"q{n}")))[0] for n in range(200)]
    assert again == wrong


def test_two_questions_on_one_clip_are_told_apart():
    one, two = (apply(AdversarialAudio(Tones(), "right"), item(n)) for n in ("q1", "q2"))
    assert one.clips()[0].edits[0].seed != two.clips()[0].edits[0].seed
    assert apply(AdversarialAudio(Tones(), "right"), item("q1")) == one


def test_every_order_of_the_options_hears_the_same():
    sample, request = item()
    turned = tuple(Choice(c.label, CHOICES[(n + 1) % 4].text) for n, c in enumerate(CHOICES))
    rotated = replace(request, choices=turned, variant="rotation1")
    for answer in ("right", "wrong"):
        change = AdversarialAudio(Tones(), answer)
        assert apply(change, (sample, rotated)).clips() == apply(change, (sample, request)).clips()


def test_items_it_cannot_speak_into_are_skipped_with_a_reason():
    change, (sample, _) = AdversarialAudio(Tones()), item()
    free, asked = item("free", target="a dog", choices=())
    assert change.apply(free, asked, Context(7, [free, sample])) == Skip(
        "no options: nothing to say"
    )
    with pytest.raises(ConfigError, match="have none; choose a multiple-choice task"):
        change.apply(free, asked, Context(7, [free]))
    assert apply(change, item(clips=0)) == Skip("no clip to speak into")
    alike = (Choice("a", "dog"), Choice("b", "dog"))
    assert apply(change, item(choices=alike)) == Skip("no wrong option to say")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("mode", "mix"), ("answer", "both"), ("repeats", 0), ("repeats", 1.5), ("repeats", True)),
        *(("gain_db", float("nan")), ("gain_db", "loud")),
    ],
)
def test_impossible_settings_are_refused(setting, value):
    with pytest.raises(ConfigError, match=rf"intervention\.{setting}"):
        AdversarialAudio(Tones(), **{setting: value})


# ------------------------------------------------------------------ who speaks


def test_an_utterance_is_made_once_whoever_asks():
    made = []

    @dataclass(frozen=True)
    class Counted:
        text: str = "counted once"

        def content(self):
            return self.text

        def synthesise(self):
            made.append(threading.get_ident())
            return np.ones(100, np.float32), RATE

    threads = [threading.Thread(target=speech.spoken, args=(Counted(), RATE)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    with pytest.raises(ValueError, match="read-only"):
        speech.spoken(Counted(), RATE)[0] = 0


def test_a_text_without_sound_is_an_error():
    @dataclass(frozen=True)
    class Mute:
        text: str = "..."

        def content(self):
            return self.text

        def synthesise(self):
            return np.zeros(100, np.float32), RATE

    with pytest.raises(AudioError, match=r"nothing is heard of '\.\.\.'"):
        speech.spoken(Mute(), RATE)


def test_a_missing_recording_names_the_item_and_the_file(tmp_path, wav):
    wav("a.wav")
    by_label = AdversarialAudio(Recordings(str(tmp_path), "label"), "right")
    (found,) = apply(by_label, item(target="a")).clips()[0].edits
    assert found.utterance.path == str(tmp_path / "a.wav")
    with pytest.raises(DataError, match=r"item 'q1': .*the option 'dog'; record it as 'b\.wav'"):
        apply(by_label)
    with pytest.raises(DataError, match=r"record it as 'dog\.wav'"):
        apply(AdversarialAudio(Recordings(str(tmp_path)), "right"))
    with pytest.raises(ConfigError, match=r"intervention\.speech\.by"):
        Recordings(str(tmp_path), "file")


def test_file_names_stay_in_the_folder():
    assert file_name("../../etc/passwd") == "______etc_passwd"
    assert file_name("Été, d'où?") == "été_ d'où_"
    assert len({file_name("x" * 300), file_name("x" * 301)}) == 2
    assert len(file_name("é" * 300).encode()) <= 100


def test_recordings_are_heard_as_they_are(tmp_path, wav):
    wav("dog.wav", 0.3, rate=RATE)
    said = Recordings(str(tmp_path)).say(CHOICES[1])
    wave, _ = soundfile.read(tmp_path / "dog.wav", dtype="float32")
    assert np.array_equal(speech.spoken(said, RATE), wave)


def test_without_espeak_one_line_says_what_to_install(bench, tmp_path):
    (tmp_path / "bin").mkdir()
    done = bench("intervention=adversarial_audio", env={"PATH": str(tmp_path / "bin")}, check=2)
    assert done.stderr.count("\n") == 1
    assert "apt install espeak-ng" in done.stderr
    assert not bench.outputs.exists()


@ESPEAK
@pytest.mark.parametrize("text", ["dog", "-v de", "--version", "$(exit 1)`exit 1`", "a\nb"])
def test_espeak_speaks_any_text_as_text(text):
    said = EspeakNg().say(Choice("a", text))
    wave, rate = said.synthesise()
    assert rate == 22050
    assert 0.1 < len(wave) / rate < 3
    assert 0.1 < np.abs(wave).max() <= 1
    assert np.array_equal(wave, said.synthesise()[0])
    assert said.version in said.content()
    assert abs(wave[0]) > 5e-4
    assert abs(wave[-1]) > 5e-4


@ESPEAK
def test_espeak_reads_brackets_as_brackets():
    plain, coded = (EspeakNg().say(Choice("a", t)) for t in ("hello world", "[[hello world]]"))
    assert np.array_equal(plain.synthesise()[0], coded.synthesise()[0])


@ESPEAK
def test_espeak_says_different_things_and_at_different_tempi():
    one, two = (speech.spoken(EspeakNg().say(c), RATE) for c in CHOICES[:2])
    assert not np.array_equal(one[:1000], two[:1000])
    slow = speech.spoken(EspeakNg(words_per_minute=90).say(CHOICES[0]), RATE)
    assert len(slow) > 1.2 * len(one)


@ESPEAK
def test_espeak_refuses_what_it_does_not_know():
    with pytest.raises(ConfigError, match=r"intervention\.speech\.voice=zz"):
        EspeakNg("zz").say(CHOICES[0])
    for voice in ("../x", "", "-v"):
        with pytest.raises(ConfigError, match=r"intervention\.speech\.voice"):
            EspeakNg(voice).say(CHOICES[0])
    for tempo in (0, 451, 1.5, True):
        with pytest.raises(ConfigError, match=r"intervention\.speech\.words_per_minute"):
            EspeakNg(words_per_minute=tempo)
    with pytest.raises(AudioError, match="nothing is heard"):
        speech.spoken(EspeakNg().say(Choice("a", "...")), RATE)


@ESPEAK
def test_real_speech_is_level_with_real_recordings(shared_data):
    for file in sorted((shared_data / "sakura/data/Animal/audio").glob("*.wav"))[:8]:
        change = edit(utterance=EspeakNg().say(CHOICES[1]))
        facts = {}
        whole = audio.render(AudioSource(AudioRef(str(file)), (change,)), 16000, facts)
        assert abs(facts["spoken_rms_db"]) < 0.2
        assert 0.1 < facts["spoken_s"] < 1
        plain = audio.render(AudioSource(AudioRef(str(file))), 16000)
        start, said = int(facts["spoken_at_1"]), int(facts["spoken_samples"])
        assert np.delete(whole, np.s_[start : start + said]).tobytes() == plain.tobytes()


def test_a_run_hears_it_and_is_continued(bench, run_folders):
    words = (
        *("intervention=adversarial_audio", "intervention/speech=tones", "limit=6"),
        *("tracking=none", "figures=false"),
    )
    bench(*words, check=0)
    assert "already finished" in bench(*words, check=0).stdout
    (folder,) = run_folders().values()
    assert folder.parent.name.startswith("adversarial_audio")


def test_after_silence_only_the_answer_is_heard(wav):
    source = AudioSource(AudioRef(str(wav())), (SilenceEdit(), edit("overlay")))
    facts = {}
    wave = audio.render(source, RATE, facts)
    start, said = int(facts["spoken_at_1"]), int(facts["spoken_samples"])
    assert wave[start : start + said].any()
    assert not np.delete(wave, np.s_[start : start + said]).any()
