from dataclasses import replace

import pytest

from lalm_bench.identity import Sealer, fingerprint
from lalm_bench.interventions.mask import Mask
from lalm_bench.types import (
    Audio,
    AudioRef,
    AudioSource,
    Choice,
    Context,
    Generation,
    Message,
    Request,
    Sample,
    Text,
)

MODEL = {"model": "m", "revision": "1"}


def sealer(model=MODEL, pruning=None, rate=16000, stochastic=False, seed=7):
    return Sealer(model, pruning or {"name": "none"}, rate, stochastic, seed)


def request(path, text="Which?", **more):
    parts = (Audio(AudioSource(AudioRef(str(path)))), Text(text))
    return Request("item", (Message("user", parts),), (Choice("A", "x"), Choice("B", "y")), **more)


def test_everything_an_answer_depends_on_changes_the_key(wav):
    base = request(wav("a.wav"))
    sample = Sample("item", (), "", (), "A", "c")
    other_audio = request(wav("b.wav", pitch=300.0))
    keys = [
        sealer().seal(base).key,
        sealer(model={"model": "m", "revision": "2"}).seal(base).key,
        sealer(pruning={"name": "fastv", "ratio": 0.5}).seal(base).key,
        sealer(rate=24000).seal(base).key,
        sealer().seal(request(wav("a.wav"), text="Who?")).key,
        sealer().seal(other_audio).key,
        sealer().seal(replace(base, choices=(Choice("A", "y"), Choice("B", "x")))).key,
        sealer().seal(replace(base, generation=Generation(max_new_tokens=17))).key,
        sealer().seal(replace(base, generation=Generation(mode="letter_likelihood"))).key,
        sealer().seal(Mask(0.5).apply(sample, base, Context(7))).key,
        sealer().seal(Mask(0.6).apply(sample, base, Context(7))).key,
        sealer().seal(replace(base, messages=(Message("system", base.messages[0].parts),))).key,
    ]
    assert len(set(keys)) == len(keys)


def test_what_an_answer_does_not_depend_on_leaves_the_key(wav, tmp_path):
    base = request(wav("a.wav"))
    copy = tmp_path / "elsewhere.wav"
    copy.write_bytes((tmp_path / "a.wav").read_bytes())
    assert sealer().seal(base).key == sealer().seal(request(copy)).key
    assert sealer().seal(base).key == sealer(seed=8).seal(replace(base, sample_id="other")).key


def test_a_deaf_model_never_touches_the_recording(tmp_path):
    gone = request(tmp_path / "gone.wav")
    assert sealer(rate=None).seal(gone).key


def test_drawn_answers_have_a_seed_of_their_own(wav):
    base = request(wav())
    seal = sealer(stochastic=True).seal
    first, second = seal(base), seal(replace(base, sample_id="other"))
    assert first.key != second.key
    assert first.generation.seed != second.generation.seed
    assert seal(base) == first
    warm = replace(base, generation=Generation(temperature=0.7))
    assert sealer().seal(warm).generation.seed is not None
    assert sealer().seal(base).generation.seed is None


CONFIG = {
    "task": {"name": "t", "root": "/here", "families": ["a"]},
    "model": {"name": "m"},
    "intervention": {"name": "none"},
    "pruning": {"name": "none"},
    "generation": {"temperature": 0.0},
    "seed": 7,
    "limit": None,
    "runtime": {"batch_size": 8},
    "paths": {"outputs": "o"},
}


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("runtime", {"batch_size": 9}, True),
        ("paths", {"outputs": "p"}, True),
        ("tracking", {"uri": "x"}, True),
        ("task", {"name": "t", "root": "/there", "families": ["a"]}, True),
        ("task", {"name": "t", "root": "/here", "families": ["b"]}, False),
        ("model", {"name": "n"}, False),
        ("seed", 8, False),
        ("limit", 10, False),
        ("generation", {"temperature": 0.1}, False),
        ("pruning", {"name": "fastv"}, False),
        ("intervention", {"name": "mask"}, False),
    ],
)
def test_a_fingerprint_is_the_conditions_and_nothing_else(key, value, same):
    assert (fingerprint({**CONFIG, key: value}) == fingerprint(CONFIG)) is same
    assert fingerprint(dict(reversed(CONFIG.items()))) == fingerprint(CONFIG)


def test_the_content_of_the_questions_is_a_condition_and_their_place_is_not(tmp_path):
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(text)
    a, b, c = (fingerprint(CONFIG, [tmp_path / name]) for name in "abc")
    assert a == b
    assert len({a, c, fingerprint(CONFIG), fingerprint(CONFIG, [tmp_path / "a"] * 2)}) == 4
