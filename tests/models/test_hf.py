"""The generic adapter on real processors and tiny random networks of three families."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import soundfile

from lalm_bench.errors import ConfigError, ModelError
from lalm_bench.models.hf import HFModel
from lalm_bench.types import Audio, AudioRef, AudioSource, Generation, Message, Runtime, Text

FAMILIES = ("qwen2_audio", "voxtral", "audio_flamingo_3")
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
        model = HFModel(
            name=family, path=str(path or checkpoint(family)), dtype="float32", **settings
        )
        key = (family, batch_size, workers, path, json.dumps(settings, sort_keys=True))
        if key not in known:
            model.load(Runtime("cpu", batch_size, workers))
            known[key] = model
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


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_size_workers_and_order_change_nothing(loaded, asked, family):
    single = answers(loaded(family, 1, 1), asked)
    assert len({r.text for r in single.values()}) == len(asked)
    assert all(r.error is None and r.finish in ("stop", "length") for r in single.values())
    assert answers(loaded(family, 4, 3), asked) == single
    assert answers(loaded(family, 3, 2), asked[::-1]) == single


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_depend_on_the_audio(loaded, ask, clips, family):
    same_question = [ask(str(i), "What?", clip) for i, clip in enumerate(clips[:3])]
    texts = {r.text for r in loaded(family).answer(same_question)}
    assert len(texts) == 3


def test_usage_and_timing_are_reported(loaded, asked):
    response = next(r for r in loaded("qwen2_audio").answer(asked) if r.sample_id == "q3")
    assert response.usage["audio_s"] == pytest.approx(9.7)
    assert response.usage["truncated_s"] == 0
    # 25 audio tokens a second
    assert 9.7 * 25 < response.usage["input_tokens"] < 9.7 * 25 + 100
    assert 0 < response.usage["output_tokens"] <= 16
    assert response.timing["featurise_s"] > 0
    assert response.timing["generate_s"] > 0


def test_an_overlong_clip_is_an_error_that_names_clip_and_remedy(loaded, asked, clips):
    got = answers(loaded("qwen2_audio", max_audio_s=3), asked)
    assert {k for k, r in got.items() if r.finish == "error"} == {"q1", "q3"}
    for part in (clips[3], "9.70 s", "3 s", "model.overlong=truncate"):
        assert part in got["q3"].error
    assert got["q0"].error is None


def test_truncation_is_counted_and_equals_the_shorter_clip(loaded, ask, clips, tmp_path):
    wave, rate = soundfile.read(clips[3])
    soundfile.write(tmp_path / "short.wav", wave[: 3 * rate], rate)
    model = loaded("qwen2_audio", max_audio_s=3, overlong="truncate")
    cut = answers(model, [ask("long", "What?", clips[3])])["long"]
    short = answers(model, [ask("short", "What?", tmp_path / "short.wav")])["short"]
    assert cut.text == short.text
    assert cut.usage["truncated_s"] == pytest.approx(6.7)
    assert cut.usage["audio_s"] == pytest.approx(3.0)


def test_a_broken_file_fails_alone(loaded, asked, ask, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nonsense")
    model = loaded("qwen2_audio")
    got = answers(model, [*asked, ask("bad", "What?", broken)])
    assert got["bad"].finish == "error"
    assert str(broken) in got["bad"].error
    assert {k: r for k, r in got.items() if k != "bad"} == answers(model, asked)


def test_too_many_clips_are_refused(loaded, ask, clips):
    two = ask("two", "Which is louder?", clips[0], clips[2])
    assert "2 clips" in answers(loaded("audio_flamingo_3"), [two])["two"].error
    assert answers(loaded("qwen2_audio"), [two])["two"].error is None


@pytest.mark.parametrize("family", FAMILIES)
def test_items_without_audio_share_a_batch_with_others(loaded, asked, ask, family):
    mixed = [*asked[:2], ask("mute", "What?")]
    got = answers(loaded(family, 4), mixed)
    assert got == answers(loaded(family, 1, 1), mixed)
    assert got["mute"].usage["audio_s"] == 0
    assert got["mute"].error is None


def test_equal_length_batches_hold_equal_features(loaded, asked, ask, clips, monkeypatch):
    from lalm_bench.engine import decode

    seen = []
    real = decode.answer_batch
    monkeypatch.setattr(
        decode, "answer_batch", lambda n, t, items: seen.append(len(items)) or real(n, t, items)
    )
    twice = [*asked, ask("again", "What?", clips[0])]
    # Windows of 30 s all have one shape; a mute item has none.
    model = loaded("qwen2_audio", 8, batch_audio="equal_length")
    assert len(answers(model, [*twice, ask("mute", "What?")])) == 6
    assert sorted(seen) == [1, 5]


def test_sampling_belongs_to_the_request_and_not_to_the_batch(loaded, asked):
    import torch

    def drawn(model, first_seed):
        generation = Generation(temperature=1.5, top_p=0.95)
        requests = [
            replace(r, generation=replace(generation, seed=first_seed + i))
            for i, r in enumerate(asked)
        ]
        return {k: r.text for k, r in answers(model, requests).items()}

    state = torch.random.get_rng_state()
    first = drawn(loaded("qwen2_audio", 4), 5)
    assert drawn(loaded("qwen2_audio", 1, 1), 5) == first
    assert drawn(loaded("qwen2_audio", 4), 50) != first
    assert torch.equal(torch.random.get_rng_state(), state)
    unseeded = replace(asked[0], generation=Generation(temperature=1.0))
    with pytest.raises(ConfigError, match="needs a seed"):
        list(loaded("qwen2_audio").answer([unseeded]))


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


def test_other_modes_are_refused_with_a_remedy(loaded, asked):
    scored = replace(asked[0], generation=Generation(mode="letter_likelihood"))
    with pytest.raises(ConfigError, match="model=text"):
        list(loaded("qwen2_audio").answer([scored]))


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
    def request(*parts):
        from lalm_bench.types import Request

        return Request("q", (Message("user", parts),), key="q")

    clip, words = Audio(AudioSource(AudioRef(clips[0]))), Text("What do you hear?")
    model = loaded("qwen2_audio")
    before = model._prepare(request(clip, words)).inputs["input_ids"][0].tolist()
    after = model._prepare(request(words, clip)).inputs["input_ids"][0].tolist()
    marker = model.processor.tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    word = model.processor.tokenizer("hear", add_special_tokens=False)["input_ids"][-1]
    assert before.index(marker) < before.index(word)
    assert after.index(marker) > after.index(word)
    assert sorted(before) == sorted(after)


def test_a_template_override_is_used_and_identified(loaded, asked, checkpoint, tmp_path):
    template = (checkpoint("qwen2_audio") / "chat_template.jinja").read_text()
    file = tmp_path / "short.jinja"
    file.write_text(template.replace("assistant", "A"))
    plain, other = loaded("qwen2_audio"), loaded("qwen2_audio", chat_template=str(file))
    assert answers(other, asked) != answers(plain, asked)
    assert other.identity() != plain.identity()
    inline = HFModel(name="x", path=plain.path, dtype="float32", chat_template=file.read_text())
    assert inline.identity() == other.identity()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("overlong", "chunk"),
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
