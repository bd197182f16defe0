import dataclasses

import numpy as np
import pytest

from lalm_bench.models.signal import CANNOT_TELL, SignalListener
from lalm_bench.models.sound_events import detect
from lalm_bench.models.sound_questions import pick, understand
from lalm_bench.parsing import Parsed
from lalm_bench.tasks.synthetic.catalogue import FAMILIES
from lalm_bench.tasks.synthetic.files import write
from lalm_bench.tasks.synthetic.task import McqSynthetic, scenes
from lalm_bench.types import Audio, AudioRef, AudioSource, Choice, Generation, Message, Text

SPLITS = [(name, level) for name, family in FAMILIES.items() for level in family.levels]
PROMPT = (
    "{question}\n\nChoose exactly one option.\n{options}\n\n"
    "Return only the option label from: {labels}."
)
RATE = 16_000


def task(**settings):
    return McqSynthetic(
        name="mcq_synthetic",
        prompt=PROMPT,
        parser=lambda text, choices: Parsed(text or None, "exact"),
        **settings,
    )


def asked(samples):
    suite = task()
    return [r for s in samples for r in suite.requests(s, Generation())]


def accuracy(samples):
    answers = {r.sample_id: r.text for r in SignalListener().answer(asked(samples))}
    return sum(answers[s.id] == s.target for s in samples) / len(samples)


def heard_as(request, clip=None, text=None):
    """The request with another clip or other words."""
    (message,) = request.messages
    sound, words = message.parts
    parts = (Audio(clip) if clip else sound, Text(text) if text else words)
    return dataclasses.replace(request, messages=(Message("user", parts),))


@dataclasses.dataclass(frozen=True)
class Wave:
    values: tuple[float, ...]

    def content(self):
        return repr(self.values)

    def synthesise(self):
        return np.array(self.values, dtype=np.float32), RATE


@dataclasses.dataclass(frozen=True)
class Noise:
    snr_db: float
    seed: int = 3

    def __call__(self, wave, rate, rng):
        level = np.sqrt(np.mean(wave[np.abs(wave) > 0] ** 2)) * 10 ** (-self.snr_db / 20)
        return wave + level * rng.standard_normal(len(wave)).astype(np.float32)


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize(("family", "difficulty"), SPLITS)
def test_every_family_is_answerable_from_the_waveform(family, difficulty, compat):
    samples = list(scenes(family, difficulty, 24, 7, compat))
    assert accuracy(samples) == 1.0


@pytest.mark.parametrize("family", FAMILIES)
def test_written_files_are_heard_the_same(tmp_path, family):
    samples = list(scenes(family, "easy", 24, 11))
    write(samples, tmp_path)
    folder = tmp_path / "synthetic" / family / "easy"
    files = [
        dataclasses.replace(s, audio=(AudioRef(str(folder / f"{s.id}.wav")),), meta={})
        for s in samples
    ]
    # Names must not help: the files are asked under numbers that say nothing.
    for i, sample in enumerate(samples):
        (folder / f"{sample.id}.wav").rename(folder / f"{i}.wav")
        files[i] = dataclasses.replace(
            files[i], id=str(i), audio=(AudioRef(str(folder / f"{i}.wav")),)
        )
    assert accuracy(files) == 1.0


def test_the_answer_follows_the_sound_not_the_item():
    one, other = (
        next(s for s in scenes("pitch_order_trivial", "easy", 8, 7) if s.meta["answer_type"] == k)
        for k in ("high", "low")
    )
    swapped = heard_as(asked([one])[0], AudioSource(other.audio[0]))
    (answer,) = SignalListener().answer([swapped])
    assert answer.text in {"A", "B"} - {one.target}


def test_the_answer_follows_the_options():
    (request,) = asked(list(scenes("gap_trivial", "easy", 1, 7)))
    (plain,) = SignalListener().answer([request])
    turned = tuple(
        Choice(a.label, b.text) for a, b in zip(request.choices, request.choices[::-1], strict=True)
    )
    (other,) = SignalListener().answer([dataclasses.replace(request, choices=turned)])
    assert {plain.text, other.text} == {"A", "B"}


@pytest.mark.parametrize("family", ["pitch_order_trivial", "duration_order_trivial", "time"])
def test_moderate_noise_does_not_deafen_it(family):
    samples = list(scenes(family, "easy", 24, 7))
    noisy = [heard_as(r, AudioSource(r.clips()[0].clip, (Noise(25.0),))) for r in asked(samples)]
    answers = {r.sample_id: r.text for r in SignalListener().answer(noisy)}
    assert sum(answers[s.id] == s.target for s in samples) >= 22


@pytest.mark.parametrize(
    "text",
    [
        "What is the speaker's emotion?",
        'What happens immediately after this event first appears: "a dog barks"?',
        "You will hear a high beep and a quiet beep. Which one happened first?",
        "You will hear a red beep and a blue beep. Which one happened first?",
        "How many beeps did you hear? Which pattern did you hear?",
        "",
    ],
)
def test_a_question_it_does_not_understand_gets_no_label(text):
    (request,) = asked(list(scenes("pitch_order_trivial", "easy", 1, 7)))
    (answer,) = SignalListener().answer([heard_as(request, text=text or " ")])
    assert answer.text == CANNOT_TELL
    assert answer.finish == "stop"


def test_silence_gets_no_label():
    (request,) = asked(list(scenes("count_beeps_trivial", "easy", 1, 7)))
    for clip in (Wave((0.0,) * RATE), Wave((0.0,) * 10)):
        (answer,) = SignalListener().answer([heard_as(request, AudioSource(clip))])
        assert answer.text == CANNOT_TELL


def test_without_a_clip_it_cannot_tell():
    (request,) = asked(list(scenes("count_beeps_trivial", "easy", 1, 7)))
    deaf = dataclasses.replace(request, messages=(Message("user", request.messages[0].parts[1:]),))
    (answer,) = SignalListener().answer([deaf])
    assert answer.text == CANNOT_TELL


def test_an_unreadable_clip_is_an_error_and_the_rest_goes_on(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"not audio\n")
    good = asked(list(scenes("gap_trivial", "easy", 2, 7)))
    broken = heard_as(good[0], AudioSource(AudioRef(str(tmp_path / "broken.wav"))))
    bad, fine = SignalListener().answer([broken, good[1]])
    assert bad.finish == "error"
    assert bad.text == ""
    assert good[0].sample_id in bad.error
    assert "broken.wav" in bad.error
    assert "\n" not in bad.error
    assert fine.finish == "stop"
    assert fine.error is None


def test_detect_finds_onsets_offsets_pitch_and_level():
    time = np.arange(2 * RATE) / RATE
    wave = np.zeros(2 * RATE, dtype=np.float32)
    for onset, duration, pitch, amplitude in ((0.3, 0.2, 440, 0.5), (1.0, 0.4, 523.25, 0.05)):
        part = (time >= onset) & (time < onset + duration)
        wave[part] = amplitude * np.sin(2 * np.pi * pitch * time[part])
    one, two = detect(wave, RATE)
    assert (one.onset, one.offset) == pytest.approx((0.3, 0.5), abs=0.006)
    assert (two.onset, two.duration) == pytest.approx((1.0, 0.4), abs=0.006)
    assert one.pitch_hz == pytest.approx(440, abs=1)
    assert two.pitch_hz == pytest.approx(523.25, abs=1)
    assert one.level_db - two.level_db == pytest.approx(20, abs=0.1)
    assert one.third_harmonic < 0.01


@pytest.mark.parametrize(("ratio", "shape"), [(0, "sine"), (1 / 9, "triangle"), (1 / 3, "square")])
def test_third_harmonic_is_measured(ratio, shape):
    time = np.arange(RATE // 2) / RATE
    wave = np.sin(2 * np.pi * 330 * time) + ratio * np.sin(2 * np.pi * 990 * time)
    (event,) = detect(wave.astype(np.float32), RATE)
    assert event.third_harmonic == pytest.approx(ratio, abs=0.01)
    rule = understand("Which sound starts first?")
    assert rule is not None
    assert rule([event, event]) == shape


def test_equal_sounds_are_not_told_apart():
    time = np.arange(RATE // 5) / RATE
    beep, pause = 0.5 * np.sin(2 * np.pi * 440 * time), np.zeros(RATE // 2)
    events = detect(np.concatenate([pause, beep, pause, beep, pause]).astype(np.float32), RATE)
    for question in (
        "You will hear a high beep and a low beep. Which one happened first?",
        "You will hear a loud beep and a quiet beep. Which one happened first?",
        "Which sound has the highest pitch?",
        "Which burst contains more beeps?",
        "Which pattern did you hear?",
    ):
        rule = understand(question)
        assert rule is not None
        assert rule(events) is None, question


@pytest.mark.parametrize(
    ("word", "texts", "label"),
    [
        ("two", ["1 beep", "2 beeps"], "B"),
        ("low", ["the high beep", "below"], None),
        ("high", ["the high beep", "a high note"], None),
        ("high-low-high", ["low-high-low", "High-low-high."], "B"),
        ("third", ["the third sound"], "A"),
    ],
)
def test_pick_needs_exactly_one_fitting_option(word, texts, label):
    choices = [Choice("AB"[i], text) for i, text in enumerate(texts)]
    assert pick(word, choices) == label
