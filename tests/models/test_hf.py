"""The generic adapter on real processors and tiny random networks.

That its answers are the families' own is shown in `test_exactness`; options that are compared, in
`tests/engine/test_letters`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from lalm_bench.errors import ConfigError, ModelError
from lalm_bench.models.hf import HFModel
from lalm_bench.types import (
    Audio,
    AudioRef,
    AudioSource,
    Generation,
    Message,
    Request,
    Runtime,
    Text,
)

QUESTIONS = (
    "Which event comes next?",
    "Choose exactly one option. A) a dog B) a car passes C) rain falls",
    "What?",
    "Return only the option label from: A, B, C, D.",
)


@pytest.fixture(scope="module")
def loaded(checkpoint):
    """`loaded(family, batch_size, workers, **settings)`: a model that is ready to answer."""
    known = {}

    def load(family, batch_size=4, workers=2, path=None, **settings):
        key = (family, batch_size, workers, path, json.dumps(settings, sort_keys=True))
        if key not in known:
            folder = str(path or checkpoint(family))
            known[key] = HFModel(name=family, path=folder, dtype="float32", **settings)
            known[key].load(Runtime("cpu", batch_size, workers))
        return known[key]

    return load


@pytest.fixture(scope="module")
def asked(ask, clips):
    return [ask(f"q{i}", text, clips[i]) for i, text in enumerate(QUESTIONS)]


def answers(model, requests):
    """Everything but the timing, by item."""
    got = list(model.answer(requests))
    assert len(got) == len(requests)
    return {r.sample_id: replace(r, timing=None) for r in got}


# ---------------------------------------------------------------------------------- batches


def test_a_broken_file_fails_alone(loaded, asked, ask, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nonsense")
    gone = tmp_path / "gone.wav"
    model = loaded("qwen2_audio")
    got = answers(model, [*asked, ask("bad", "What?", broken), ask("none", "What?", gone)])
    for name, path in (("bad", broken), ("none", gone)):
        assert got[name].finish == "error"
        assert str(path) in got[name].error
    assert {k: r for k, r in got.items() if r.error is None} == answers(model, asked)


def test_equal_length_batches_hold_equal_features(loaded, asked, ask, clips, monkeypatch):
    # Windows of 30 s all have one shape; a mute item has none.
    model, seen = loaded("voxtral", 8, batch_audio="equal_length"), []
    begin = model._begin

    def noted(first):
        batch = begin(first)
        finish = batch.finish
        batch.finish = lambda: seen.append(len(batch._items)) or finish()
        return batch

    monkeypatch.setattr(model, "_begin", noted)
    requests = [*asked, ask("again", "What?", clips[0]), ask("mute", "What?")]
    got = answers(model, requests)
    assert sorted(seen) == [1, 5]
    assert got == answers(loaded("voxtral", 8), requests)
    seen.clear()
    model = loaded("qwen2_audio", 8, batch_audio="equal_length")
    begin = model._begin
    monkeypatch.setattr(model, "_begin", noted)
    answers(model, requests)
    assert sorted(seen) == [1, 1, 1, 1, 2], "trimmed clips have a shape of their own"


def test_a_clips_spectrogram_is_made_once_for_all_its_questions(checkpoint, ask, clips):
    import transformers as tf

    calls = []

    class Counting(tf.WhisperFeatureExtractor):
        def __call__(self, *args, **options):
            calls.append(1)
            return super().__call__(*args, **options)

    requests = [ask(f"{i}{n}", QUESTIONS[n], clips[i]) for i in range(3) for n in range(4)]
    found = []
    for reuse, expected in ((True, 3), (False, 12)):
        model = HFModel(name="x", path=str(checkpoint("qwen2_audio")), dtype="float32")
        real = tf.AutoProcessor.from_pretrained

        def counted(*args, real=real, **options):
            processor = real(*args, **options)
            processor.feature_extractor.__class__ = Counting
            return processor

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tf.AutoProcessor, "from_pretrained", counted)
            model.load(Runtime("cpu", 4, 4, reuse_audio=reuse))
        calls.clear()
        found.append(answers(model, requests))
        assert len(calls) == expected
    assert found[0] == found[1]


# --------------------------------------------------------------------------------- sampling


def test_sampling_belongs_to_the_request_and_not_to_the_batch(loaded, asked):
    import torch

    def drawn(model, first_seed, requests=asked, top_p=0.95):
        generation = Generation(temperature=1.5, top_p=top_p)
        numbered = [
            replace(r, generation=replace(generation, seed=first_seed + int(r.key[1:])))
            for r in requests
        ]
        return {k: r.text for k, r in answers(model, numbered).items()}

    state = torch.random.get_rng_state()
    four = loaded("qwen2_audio", 4)
    first = drawn(four, 5)
    assert four.report()["largest_batch"] == 4, "seeds do not part a batch"
    assert drawn(loaded("qwen2_audio", 1, 1), 5) == first
    assert drawn(four, 5, asked[::-1]) == first
    assert drawn(four, 5, asked[1:3]) == {k: first[k] for k in ("q1", "q2")}
    assert len(set(first.values())) == 4
    assert drawn(four, 50) != first
    greedy = {k: r.text for k, r in answers(four, asked).items()}
    assert drawn(four, 5, top_p=1e-6) == greedy
    assert torch.equal(torch.random.get_rng_state(), state)
    unseeded = replace(asked[0], generation=Generation(temperature=1.0))
    with pytest.raises(ConfigError, match="needs a seed"):
        list(four.answer([unseeded]))


def test_the_checkpoints_own_sampling_and_penalties_are_switched_off(
    loaded, checkpoint, asked, tmp_path
):
    other = tmp_path / "penalised"
    shutil.copytree(checkpoint("qwen2_audio"), other)
    settings = json.loads((other / "generation_config.json").read_text())
    settings |= {"do_sample": True, "top_k": 3, "temperature": 2.0, "repetition_penalty": 1.8}
    (other / "generation_config.json").write_text(json.dumps(settings))
    ours = answers(loaded("qwen2_audio"), asked)
    assert answers(loaded("qwen2_audio", path=other), asked) == ours


def test_what_the_checkpoint_forbids_is_not_written(loaded, checkpoint, asked, tmp_path):
    other = tmp_path / "forbidding"
    shutil.copytree(checkpoint("qwen2_audio"), other)
    tokenizer = loaded("qwen2_audio").processor.tokenizer
    text = answers(loaded("qwen2_audio"), asked)["q1"].text
    banned = tokenizer.encode(text, add_special_tokens=False)[0]
    settings = json.loads((other / "generation_config.json").read_text())
    file = other / "generation_config.json"
    file.write_text(json.dumps(settings | {"suppress_tokens": [banned]}))
    suppressed = answers(loaded("qwen2_audio", path=other), asked)["q1"].text
    assert suppressed != text
    assert banned not in tokenizer.encode(suppressed, add_special_tokens=False)
    file.write_text(json.dumps(settings | {"bad_words_ids": [[banned, banned]]}))
    with pytest.raises(ModelError, match="forbids phrases"):
        HFModel(name="x", path=str(other)).load(Runtime("cpu"))


# ---------------------------------------------------------------------------------- prompts


def test_a_system_turn_is_folded_where_the_tokenizer_refuses_it(loaded, asked):
    request = replace(
        asked[0], messages=(Message("system", (Text("Be brief."),)), *asked[0].messages)
    )
    folded = answers(loaded("voxtral"), [request, asked[1]])
    assert folded["q0"].error is None
    assert folded["q0"].text != answers(loaded("voxtral"), asked)["q0"].text
    native = answers(loaded("voxtral", system_role="native"), [request, asked[1]])
    assert "system_role=prepend" in native["q0"].error
    assert native["q1"].error is None


def test_parts_keep_their_order(loaded, clips):
    clip, words = Audio(AudioSource(AudioRef(clips[0]))), Text("What do you hear?")
    model = loaded("qwen2_audio")

    def prepared(*parts):
        return model._prepare(Request("q", (Message("user", parts),), key="q"))

    before, after = prepared(clip, words), prepared(words, clip)
    first, last = (item.inputs["input_ids"][0].tolist() for item in (before, after))
    marker = model.processor.tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    word = model.processor.tokenizer("hear", add_special_tokens=False)["input_ids"][-1]
    assert first.index(marker) < first.index(word)
    assert last.index(marker) > last.index(word)
    assert sorted(first) == sorted(last)
    # What follows the audio is a row's own; what leads up to it may be shared.
    assert before.audio == after.audio
    for item, ids in ((before, first), (after, last)):
        assert ids[item.beginning - 1] == marker != ids[item.beginning]
    assert marker not in first[before.beginning :] + last[after.beginning :]


def test_a_template_override_is_used_and_identified(loaded, asked, checkpoint, tmp_path):
    template = (checkpoint("qwen2_audio") / "chat_template.jinja").read_text()
    file = tmp_path / "short.jinja"
    file.write_text(template.replace("assistant", "A"))
    plain, other = loaded("qwen2_audio"), loaded("qwen2_audio", chat_template=str(file))
    assert answers(other, asked) != answers(plain, asked)
    assert other.identity() != plain.identity()
    inline = HFModel(name="x", path=plain.path, dtype="float32", chat_template=file.read_text())
    assert inline.identity() == other.identity()


# --------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("overlong", "split"),
        ("audio_form", "path"),
        ("batch_audio", "x"),
        ("system_role", "x"),
        ("dtype", "int8"),
    ],
)
def test_a_wrong_setting_names_what_is_allowed(setting, value):
    with pytest.raises(ConfigError, match=rf"model\.{setting}={value} must be one of"):
        HFModel(name="x", path="x", **{setting: value})


def test_remote_code_needs_an_explicit_class():
    with pytest.raises(ConfigError, match="model_class"):
        HFModel(name="x", path="x", trust_remote_code=True)


def test_a_wrong_rate_is_refused(checkpoint):
    model = HFModel(name="x", path=str(checkpoint("qwen2_audio")), rate=8000)
    with pytest.raises(ConfigError, match="16000 Hz"):
        model.load(Runtime("cpu"))


def test_an_unknown_class_or_device_is_named(checkpoint):
    path = str(checkpoint("qwen2_audio"))
    with pytest.raises(ModelError, match="has no NoSuchModel"):
        HFModel(name="x", path=path, model_class="NoSuchModel").load(Runtime("cpu"))
    with pytest.raises(ConfigError, match="not on this machine"):
        HFModel(name="x", path=path).load(Runtime("tpu"))


def test_a_text_checkpoint_is_no_audio_model(checkpoint):
    with pytest.raises(ModelError, match="hears nothing; is this for model=text"):
        HFModel(name="x", path=str(checkpoint("tiny_llama"))).load(Runtime("cpu"))


def test_answering_before_loading_is_an_error(checkpoint, asked):
    model = HFModel(name="x", path=str(checkpoint("qwen2_audio")))
    with pytest.raises(ModelError, match="load"):
        list(model.answer(asked))


def test_importing_and_building_stay_light(checkpoint):
    code = (
        "import sys\n"
        "from lalm_bench.models.hf import HFModel\n"
        "from lalm_bench.models.text import TextModel\n"
        f"model = HFModel(name='x', path={str(checkpoint('qwen2_audio'))!r})\n"
        "assert model.missing() == []\n"
        "assert model.identity()['class']\n"
        "assert model.report() == {}\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_thread_has_a_copy_of_its_own():
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    from lalm_bench.models.loading import PerThread

    original, meet = {"state": []}, Barrier(3, timeout=5)
    shared = PerThread(original)

    def mine(_):
        meet.wait()
        assert shared.get() is shared.get()
        return shared.get()

    with ThreadPoolExecutor(3) as pool:
        copies = list(pool.map(mine, range(3)))
    assert len({id(c) for c in [original, *copies]}) == 4
    assert copies == [original] * 3
