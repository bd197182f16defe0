import dataclasses
import hashlib
import json
import subprocess
import sys
import tracemalloc
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from lalm_bench import audio, prompts
from lalm_bench.errors import ConfigError
from lalm_bench.parsing import Parsed
from lalm_bench.tasks.synthetic.catalogue import FAMILIES, RICHER, TRIVIAL, block_size
from lalm_bench.tasks.synthetic.clip import SceneClip
from lalm_bench.tasks.synthetic.files import record
from lalm_bench.tasks.synthetic.scene import RATE
from lalm_bench.tasks.synthetic.task import McqSynthetic, main, scenes
from lalm_bench.types import AudioRef, AudioSource, Choice

SPLITS = [(name, level) for name, family in FAMILIES.items() for level in family.levels]
# Published scores of listeners that named one label throughout: how often "A" or "B" is right.
ALWAYS = {
    "pitch_order_trivial": ("B", 46),
    "loudness_order_trivial": ("B", 55),
    "duration_order_trivial": ("B", 47),
    "pattern_pitch_trivial": ("B", 45),
    "dog_car_order_trivial": ("B", 45),
    "gap_trivial": ("A", 54),
    "count_beeps_trivial": ("A", 32),
}
LENGTHS_S = {
    "pitch_order_trivial": {2.55},
    "loudness_order_trivial": {2.55},
    "duration_order_trivial": {2.5, 3.4},
    "count_beeps_trivial": {4.3},
    "gap_trivial": {1.4, 3.2},
    "pattern_pitch_trivial": {3.05},
    "rhythm": {3.3},
}


def task(**settings):
    return McqSynthetic(
        name="mcq_synthetic",
        prompt="{question}\n{options}\n{labels}",
        parser=lambda text, choices: Parsed(text or None, "exact"),
        **settings,
    )


def truth(sample):
    """The right option's key from the sounds alone, without the generator's own plan."""
    clip = sample.audio[0]
    events, template = clip.scene().events, sample.meta["template"]
    first, last = events[0], events[-1]
    notes = {"first": 0, "second": 1, "third": 2}
    rules = {
        "high_vs_low_first": lambda: "high" if first.pitch_hz > last.pitch_hz else "low",
        "loud_vs_quiet_first": lambda: "loud" if first.dbfs > last.dbfs else "quiet",
        "long_vs_short_first": lambda: "long" if first.duration > last.duration else "short",
        "count_beeps": lambda: ("one", "two", "three")[len(events) - 1],
        "short_vs_long_pause": lambda: "short" if last.onset - first.offset < 0.5 else "long",
        "pitch_pattern": lambda: (
            "high_low_high" if first.pitch_hz > events[1].pitch_hz else "low_high_low"
        ),
        "dog_vs_car_first": lambda: {"bark": "dog", "horn": "car"}[first.waveform],
        "starts_first": lambda: first.waveform,
        "starts_last": lambda: last.waveform,
        "longest_duration": lambda: max(events, key=lambda e: e.duration).waveform,
        "shortest_duration": lambda: min(events, key=lambda e: e.duration).waveform,
        "highest_pitch": lambda: max(notes, key=lambda k: events[notes[k]].pitch_hz),
        "lowest_pitch": lambda: min(notes, key=lambda k: events[notes[k]].pitch_hz),
        "loudest": lambda: max(notes, key=lambda k: events[notes[k]].dbfs),
        "quietest": lambda: min(notes, key=lambda k: events[notes[k]].dbfs),
        "more_beeps": lambda: Counter(e.key for e in events).most_common(1)[0][0],
    }
    return rules[template]()


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize(("family", "difficulty"), SPLITS)
def test_the_target_is_what_the_sounds_say(family, difficulty, compat):
    texts = dict(FAMILIES[family].options)
    for sample in scenes(family, difficulty, 72, 7, compat):
        assert sample.meta["answer_type"] == truth(sample), sample.id
        right = next(c.text for c in sample.choices if c.label == sample.target)
        assert right == texts[truth(sample)]
        assert [c.label for c in sample.choices] == list("ABC"[: len(texts)])


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize(("family", "difficulty"), SPLITS)
def test_sounds_lie_inside_the_clip_and_do_not_overlap(family, difficulty, compat):
    for sample in scenes(family, difficulty, 72, 7, compat):
        scene = sample.audio[0].scene()
        ends = [0.0, *(e.offset for e in scene.events)]
        starts = [*(e.onset for e in scene.events), scene.duration]
        assert all(a <= b for a, b in zip(ends, starts, strict=True)), sample.id


# --------------------------------------------------------------------------- published construction


def test_the_published_example_is_rebuilt():
    sample = next(iter(scenes("pitch_order_trivial", "easy", 1, 7, compat=True)))
    fields = record(sample)
    assert fields["id"] == "synth_pitch_order_trivial_easy_000001"
    assert fields["task"] == "synthetic_pitch_order_trivial_mcq"
    assert fields["task_id"] == "MCQ-SYNTH-PITCH-ORDER-TRIVIAL"
    assert fields["audio_filename"] == (
        "synthetic/pitch_order_trivial/easy/synth_pitch_order_trivial_easy_000001.wav"
    )
    assert fields["question"] == (
        "You will hear a high beep and a low beep. Which one happened first?"
    )
    assert fields["answer_text"] == "the high beep"
    assert fields["generator_version"] == "synth-v1"
    assert fields["question_template"] == "high_vs_low_first"
    assert fields["scene"]["duration_seconds"] == 2.55
    assert fields["scene"]["events"][0] == {
        "key": "high",
        "text": "the high beep",
        "identity": "high",
        "waveform": "sine",
        "onset": 0.5,
        "duration": 0.15,
        "offset": 0.65,
        "pitch_hz": 880.0,
        "dbfs": -18.0,
    }


@pytest.mark.parametrize(("family", "lengths"), LENGTHS_S.items())
def test_published_clip_lengths(family, lengths):
    clips = [s.audio[0] for s in scenes(family, "easy", 6, 7, compat=True)]
    assert {c.scene().duration for c in clips} == lengths
    assert {len(c.synthesise()[0]) / RATE for c in clips} == lengths


@pytest.mark.parametrize(("family", "expected"), ALWAYS.items())
def test_published_option_order_gives_the_published_constant_scores(family, expected):
    label, right = expected
    assert sum(s.target == label for s in scenes(family, "easy", 100, 7, compat=True)) == right


def test_published_option_order_is_the_digest_order():
    sample = list(scenes("count_beeps_trivial", "easy", 5, 7, compat=True))[-1]
    base = ["one", "two", "three"]
    ranked = sorted(
        range(3), key=lambda k: hashlib.sha256(f"7:{sample.id}:{k}:{base[k]}".encode()).hexdigest()
    )
    texts = [t for _, t in FAMILIES["count_beeps_trivial"].options]
    assert [c.text for c in sample.choices] == [texts[k] for k in ranked]


def test_published_answers_and_templates_cycle():
    beeps = list(scenes("count_beeps_trivial", "easy", 6, 7, compat=True))
    assert [s.meta["answer_type"] for s in beeps] == ["one", "two", "three"] * 2
    templates = [s.meta["template"] for s in scenes("time", "hard", 8, 7, compat=True)]
    assert templates == [t for t, _ in FAMILIES["time"].questions] * 2


def test_published_tones_are_what_they_claim():
    wave, rate = SceneClip("pitch_order_trivial", "easy", 0, 7, True).synthesise()
    assert rate == 16_000
    assert wave.dtype == np.float32
    assert np.abs(wave).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    assert not wave[: round(0.5 * rate)].any()
    assert not wave[round(2.15 * rate) :].any()
    for onset, pitch in ((0.5, 880), (2.0, 220)):
        part = wave[round(onset * rate) : round((onset + 0.15) * rate)]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), rate))
        assert abs(int(spectrum.argmax()) - pitch) <= 1
        edge = np.abs(part[: round(0.002 * rate)]).max()
        assert edge < 0.1 * np.abs(part).max()


def test_published_loudness_ratio_is_18_db():
    wave, rate = SceneClip("loudness_order_trivial", "easy", 0, 7, True).synthesise()
    loud, quiet = (wave[round((t + 0.05) * rate) : round((t + 0.1) * rate)] for t in (0.5, 2.0))
    ratio = 10 * np.log10(np.mean(loud**2) / np.mean(quiet**2))
    assert ratio == pytest.approx(18.0, abs=0.1)


# --------------------------------------------------------------------------- what the default mends


@pytest.mark.parametrize(("family", "difficulty"), SPLITS)
def test_full_blocks_are_jointly_balanced(family, difficulty):
    size, asked = block_size(family), FAMILIES[family]
    for seed in (7, 8):
        items = list(scenes(family, difficulty, 2 * size, seed))
        seen = Counter(
            (s.meta["template"], s.meta["answer_type"], tuple(c.text for c in s.choices))
            for s in items
        )
        assert len(seen) == size
        assert set(seen.values()) == {2}
        labels = Counter(s.target for s in items)
        assert set(labels.values()) == {2 * size // len(asked.options)}


def test_answers_follow_no_fixed_cycle():
    answers = [s.meta["answer_type"] for s in scenes("pitch_order_trivial", "easy", 400, 7)]
    same = sum(a == b for a, b in pairwise(answers)) / 399
    # Inside a block of four, two of the three others differ: 3/8 is what a shuffle gives.
    assert 0.30 < same < 0.50


@pytest.mark.parametrize(("family", "difficulty"), SPLITS)
def test_clip_length_is_the_same_whatever_the_answer(family, difficulty):
    clips = [s.audio[0] for s in scenes(family, difficulty, 24, 7)]
    assert len({len(c.pcm()) for c in clips}) == 1


@pytest.mark.parametrize(
    "family",
    ["pitch_order_trivial", "loudness_order_trivial", "duration_order_trivial"],
)
def test_silence_before_and_after_does_not_tell_the_answer(family):
    items = [(s.meta["answer_type"], s.audio[0].scene()) for s in scenes(family, "easy", 400, 7)]
    key = items[0][0]
    for measure in (
        lambda scene: scene.events[0].onset,
        lambda scene: scene.duration - scene.events[-1].offset,
        lambda scene: scene.peak_dbfs,
    ):
        ranked = [answer == key for answer, _ in sorted(items, key=lambda i: measure(i[1]))]
        # Area under the curve of the silence as a classifier: half is no information.
        places = [i for i, hit in enumerate(ranked) if hit]
        count = len(places)
        area = (sum(places) - count * (count - 1) / 2) / (count * (len(ranked) - count))
        assert abs(area - 0.5) < 0.09


def test_the_last_tone_is_the_longest_only_a_third_of_the_time():
    items = [s for s in scenes("time", "easy", 720, 7) if s.meta["template"] == "starts_first"]
    last = [s.audio[0].scene().events for s in items]
    share = sum(e[-1].duration == max(x.duration for x in e) for e in last) / len(last)
    assert 0.23 < share < 0.44


@pytest.mark.parametrize(("family", "difficulty"), SPLITS)
def test_every_waveform_is_different(family, difficulty):
    clips = [s.audio[0] for s in scenes(family, difficulty, 24, 7)]
    assert len({c.pcm().tobytes() for c in clips}) == 24


def test_a_published_family_has_as_few_waveforms_as_answers():
    clips = [s.audio[0] for s in scenes("gap_trivial", "easy", 24, 7, compat=True)]
    assert len({c.pcm().tobytes() for c in clips}) == 2


# --------------------------------------------------------------------------- determinism, identity


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("family", [*TRIVIAL, *RICHER])
def test_items_do_not_depend_on_how_many_or_which_others_are_made(family, compat):
    alone = list(scenes(family, "easy", 5, 7, compat))[-1]
    among = list(task(families=[*RICHER, *TRIVIAL], scenes=9, compat=compat).samples())
    again = next(s for s in among if s.id == alone.id)
    assert alone == again
    assert np.array_equal(alone.audio[0].synthesise()[0], again.audio[0].synthesise()[0])


def test_the_digest_changes_with_every_parameter():
    clip = SceneClip("pitch", "easy", 3, 7, False)
    changes = {"family": "time", "difficulty": "hard", "index": 4, "seed": 8, "compat": True}
    assert changes.keys() == {f.name for f in dataclasses.fields(clip)}
    digests = {audio.digest(AudioSource(clip), RATE)}
    digests |= {
        audio.digest(AudioSource(dataclasses.replace(clip, **{k: v})), RATE)
        for k, v in changes.items()
    }
    assert len(digests) == 6


def test_ids_are_unique_and_groups_exist():
    suite = task(
        families=[*TRIVIAL, *RICHER],
        difficulties=["easy", "medium", "hard"],
        scenes=4,
        groups=("family", "difficulty"),
    )
    items = list(suite.samples())
    assert len(items) == len({s.id for s in items}) == (7 + 4 * 3) * 4
    assert all(set(suite.groups) <= s.meta.keys() for s in items)
    assert json.loads(json.dumps(items[0].meta)) == items[0].meta


def test_the_seed_changes_the_clips():
    one, other = (next(iter(scenes("pitch", "easy", 1, seed))).audio[0] for seed in (7, 8))
    assert one.scene() != other.scene()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"families": ["pich"]}, "no family 'pich'; known are"),
        ({"difficulties": ["simple"]}, "no difficulty 'simple'"),
        ({"families": ["gap_trivial"], "difficulties": ["hard"]}, "exists as easy only"),
        ({"families": ["time", "time"]}, "name each value once"),
        ({"families": []}, "name each value once"),
        ({"scenes": 0}, "at least 1"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        task(**settings)


# --------------------------------------------------------------------------- cost


@pytest.mark.parametrize("compat", [False, True])
def test_samples_stay_small(compat):
    suite = task(families=["pitch_order_trivial", "time"], scenes=5_000, compat=compat)
    for _ in suite.samples():  # fill the shared wordings first
        pass
    tracemalloc.start()
    try:
        items = list(suite.samples())
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(items) < 600


def test_listing_items_needs_no_numpy():
    code = (
        "import sys; from lalm_bench.tasks.synthetic.task import scenes; "
        "list(scenes('time', 'easy', 3, 7)); list(scenes('time', 'easy', 3, 7, True)); "
        "sys.exit('numpy' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# --------------------------------------------------------------------------- files


@pytest.mark.parametrize("flags", [[], ["--compat"]])
def test_written_files_hold_the_same_samples(tmp_path, capsys, flags):
    families = ["dog_car_order_trivial", "rhythm"]
    assert main([str(tmp_path), "--families", *families, "--scenes", "4", *flags]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [p.name for p in written] == [f"mcq_synth_{f}_easy.jsonl" for f in families]
    for path, family in zip(written, families, strict=True):
        items = list(scenes(family, "easy", 4, 7, bool(flags)))
        records = [json.loads(line) for line in path.read_text().splitlines()]
        for sample, fields in zip(items, records, strict=True):
            wave, rate = audio.decode(AudioRef(str(tmp_path / fields["audio_filename"])))
            assert rate == RATE
            assert np.array_equal(wave, sample.audio[0].synthesise()[0])
            labels = [Choice(o["label"], o["text"]) for o in fields["options"]]
            assert tuple(labels) == sample.choices
            assert fields["answer_label"] == sample.target
            assert all(o["key"] and o["type"] == "event" for o in fields["options"])


def test_bursts_are_written_as_bursts():
    fields = record(next(iter(scenes("rhythm", "hard", 1, 7))))
    first, second = fields["scene"]["bursts"]
    more = first if first["count"] > second["count"] else second
    assert more["text"] == fields["answer_text"]
    assert first["duration"] == pytest.approx(0.9, abs=0.002)


def test_the_verb_refuses_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path), "--families", "pich"]) == 2
    assert capsys.readouterr().err.startswith("error: task.families: no family 'pich'")
    assert not list(tmp_path.iterdir())


def test_the_configured_prompt_is_the_published_one():
    conf = Path(__file__).parents[2] / "conf" / "task" / "mcq_synthetic.yaml"
    template = OmegaConf.load(conf).prompt
    choices = [Choice("A", "one beep"), Choice("C", "two beeps")]
    assert prompts.render(template, "How many beeps did you hear?", choices) == (
        "How many beeps did you hear?\n\nChoose exactly one option.\nA. one beep\nC. two beeps\n\n"
        "Return only the option label from: A, C."
    )


def test_published_trivial_items_share_the_cluster_of_their_waveform():
    """A hundred rows of two waveforms are two independent observations, not a hundred."""
    items = list(scenes("gap_trivial", "easy", 20, 7, compat=True))
    waves = {}
    for item in items:
        waves.setdefault(item.cluster, set()).add(item.audio[0].synthesise()[0].tobytes())
    assert len(waves) == 2
    assert all(len(distinct) == 1 for distinct in waves.values())
    assert len({s.cluster for s in scenes("gap_trivial", "easy", 20, 7)}) == 20
