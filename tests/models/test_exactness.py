"""Every family's answers are the model's own: alone, in any batch, as transformers generates them.

Tiny random checkpoints behind the real processors, float32. Equal means equal texts and equal
reasons to stop.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from lalm_bench.errors import BenchError
from lalm_bench.types import Audio, AudioRef, AudioSource, Message, Request, Runtime, Text
from tests import tiny

CONF = Path(__file__).resolve().parents[2] / "conf" / "model"
FAMILIES = [name for name in tiny.FAMILIES if name != "tiny_llama"]
ONE_CLIP = ("audio_flamingo_3", "music_flamingo", "glm_asr", "qwen3_asr")
MANY_CLIPS = [name for name in FAMILIES if name not in ONE_CLIP]
# Their encoders look at padding, so only clips of one length may meet in a batch.
EQUAL_LENGTH = ("phi4_multimodal", "granite_speech")
QUESTIONS = (
    "Which event comes next?",
    "Choose exactly one option. A) a dog B) a car passes C) rain falls",
    "What?",
    "Return only the option label from: A, B, C, D.",
)


@pytest.fixture(scope="module")
def loaded(checkpoint):
    """`loaded(family, batch_size, workers, **settings)`: a family's YAML over its checkpoint."""
    known = {}

    def load(family, batch_size=1, workers=1, **settings):
        key = (family, batch_size, workers, *sorted(settings.items()))
        if key not in known:
            given = {"path": checkpoint(family), "dtype": "float32", **settings}
            with initialize_config_dir(str(CONF), version_base="1.3"):
                config = compose(family, [f"{k}={v}" for k, v in given.items()])
            model = instantiate(config, _convert_="all")
            model.load(Runtime(device="cpu", batch_size=batch_size, workers=workers))
            known[key] = model
        return known[key]

    return load


@pytest.fixture(scope="module")
def chords(tmp_path_factory):
    """Four clips of equal length (1.5 s) and different sound."""
    root = tmp_path_factory.mktemp("chords")
    t = np.arange(24000) / 16000
    paths = []
    for i in range(4):
        wave = sum(np.sin(2 * np.pi * 130 * (i + 1) * k * t) for k in (1, 2.5, 4 + i)) / 5
        paths.append(str(root / f"chord{i}.wav"))
        soundfile.write(paths[-1], wave * np.cos(2 * np.pi * (i + 1) * t), 16000)
    return paths


def user(name, *parts):
    """A request of one user turn; a path stands for its clip, (path, start, end) for a part."""

    def part(given):
        if isinstance(given, Text):
            return given
        path, *bounds = (given,) if isinstance(given, str) else given
        return Audio(AudioSource(AudioRef(path, *bounds)))

    return Request(name, (Message("user", tuple(map(part, parts))),), key=name)


def asked(paths):
    return [user(f"q{i}", path, Text(QUESTIONS[i])) for i, path in enumerate(paths)]


def answers(model, requests):
    """Text and finish of each request, none of them an error."""
    got = {r.sample_id: r for r in model.answer(requests)}
    assert sorted(got) == sorted(r.sample_id for r in requests)
    assert {k: r.error for k, r in got.items() if r.error} == {}
    return {k: (r.text, r.finish) for k, r in got.items()}


def singly(model, requests):
    """The same, each request in a call of its own."""
    return {k: v for request in requests for k, v in answers(model, [request]).items()}


@pytest.fixture
def largest_batch():
    """`largest_batch(model)`: a list that gets the rows of every pass through the output layer."""
    hooks = []

    def watch(model):
        rows = []
        hook = model.network.get_output_embeddings().register_forward_hook(
            lambda module, args, output: rows.append(len(output))
        )
        hooks.append(hook)
        return rows

    yield watch
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_mixed_lengths_equals_single_requests(loaded, clips, family, largest_batch):
    requests = asked(clips)
    alone = singly(loaded(family), requests)
    assert len(set(alone.values())) == 4
    four = loaded(family, 4, 2)
    rows = largest_batch(four)
    assert answers(four, requests) == alone
    assert (max(rows) > 1) == (family not in EQUAL_LENGTH)
    assert answers(four, requests[::-1]) == alone


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_equal_lengths_equals_single_requests(loaded, chords, family, largest_batch):
    requests = asked(chords)
    alone = singly(loaded(family), requests)
    assert len(set(alone.values())) == 4
    four = loaded(family, 4, 2)
    rows = largest_batch(four)
    assert answers(four, requests) == alone
    assert max(rows) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_requests_with_and_without_audio_share_a_call(loaded, clips, chords, family):
    mute = [user(f"mute{i}", Text(f"{text} Answer: ")) for i, text in enumerate(QUESTIONS[1:3])]
    requests = [mute[0], *asked(chords)[:2], *asked(clips)[2:], mute[1]]
    alone = singly(loaded(family), requests)
    assert answers(loaded(family, 6, 2), requests) == alone
    assert answers(loaded(family, 2, 2), requests[::-1]) == alone


@pytest.mark.parametrize("family", FAMILIES)
def test_questions_of_any_length_on_one_clip_share_its_encoding(loaded, clips, family):
    questions = [QUESTIONS[0] * (1 + 3 * n) for n in range(4)]
    requests = [
        user(f"{i}{n}", clips[i], Text(text)) for i in (0, 2) for n, text in enumerate(questions)
    ]
    alone = singly(loaded(family), requests)
    assert len(set(alone.values())) > 4
    together = loaded(family, 8, 2)
    before = together.report()["audio_encoded"]
    assert answers(together, requests) == alone
    assert together.report()["audio_encoded"] <= before + 2


@pytest.mark.parametrize("family", MANY_CLIPS)
def test_two_clips_in_a_request(loaded, clips, chords, family):
    first, second = chords[:2] if family in EQUAL_LENGTH else (clips[0], clips[2])
    requests = [
        user("two", first, Text("Then: "), second, Text(QUESTIONS[0])),
        user("swapped", second, Text("Then: "), first, Text(QUESTIONS[0])),
        user("twice", second, second, Text(QUESTIONS[2])),
        user("one", second, Text(QUESTIONS[2])),
    ]
    alone = singly(loaded(family), requests)
    assert len(set(alone.values())) == 4
    assert answers(loaded(family, 4, 2), requests) == alone


@pytest.mark.parametrize("family", EQUAL_LENGTH)
def test_clips_of_different_length_are_refused_where_padding_is_heard(loaded, clips, family):
    two = user("two", clips[0], clips[2], Text(QUESTIONS[0]))
    one = user("one", clips[2], Text(QUESTIONS[2]))
    got = {r.sample_id: r for r in loaded(family, 4, 2).answer([two, one])}
    assert "differ in length" in got["two"].error
    assert {"one": (got["one"].text, got["one"].finish)} == answers(loaded(family), [one])


@pytest.mark.parametrize("family", ONE_CLIP)
def test_a_second_clip_is_refused_where_a_family_hears_one(loaded, clips, family):
    two = user("two", clips[0], clips[2], Text(QUESTIONS[0]))
    one = user("one", clips[2], Text(QUESTIONS[2]))
    got = {r.sample_id: r for r in loaded(family, 4, 2).answer([two, one])}
    assert got["two"].finish == "error"
    assert got["two"].text == ""
    assert "2 clips" in got["two"].error
    assert "\n" not in got["two"].error
    assert {"one": (got["one"].text, got["one"].finish)} == answers(loaded(family), [one])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_overlong_clip_is_an_error_by_default(loaded, clips, family):
    got = {r.sample_id: r for r in loaded(family, 4, 2, max_audio_s=2).answer(asked(clips))}
    assert {k for k, r in got.items() if r.finish == "error"} == {"q1", "q2", "q3"}
    for part in (clips[1], "5.10 s", "2 s", "model.overlong="):
        assert part in got["q1"].error
    alone = answers(loaded(family), asked(clips)[:1])
    assert {"q0": (got["q0"].text, got["q0"].finish)} == alone


@pytest.mark.parametrize("family", FAMILIES)
def test_a_truncated_clip_is_counted_and_equals_the_shorter_one(loaded, clips, family):
    requests = asked(clips)
    shorter = [
        user(f"q{i}", (path, 0.0, 2.0) if i else path, Text(QUESTIONS[i]))
        for i, path in enumerate(clips)
    ]
    model = loaded(family, 4, 2, max_audio_s=2, overlong="truncate")
    assert answers(model, requests) == singly(loaded(family), shorter)
    usage = {r.sample_id: r.usage for r in model.answer(requests)}
    cut = {k: u["truncated_s"] for k, u in usage.items()}
    assert cut == pytest.approx({"q0": 0, "q1": 3.1, "q2": 0.3, "q3": 7.7})
    assert usage["q3"]["audio_s"] == pytest.approx(2.0)


def test_truncations_show_in_the_metrics_of_a_run(bench, run_folders, checkpoint):
    given = {"path": checkpoint("qwen2_audio"), "dtype": "float32", "max_audio_s": 2}
    model = ["model=qwen2_audio", *(f"model.{k}={v}" for k, v in given.items())]
    common = ("limit=6", "tracking=none", "figures=false", "runtime.device=cpu")
    bench(*model, "model.overlong=truncate", *common, check=0)
    (folder,) = run_folders().values()
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    heard = [json.loads(line) for line in (folder / "responses.jsonl").read_text().splitlines()]
    cut = [r["usage"]["truncated_s"] for r in heard if r["usage"]["truncated_s"] > 0]
    assert cut
    assert values["n_truncated"] == len(cut)
    assert values["truncated_s"] == pytest.approx(sum(cut), abs=1e-3)


@pytest.mark.parametrize("family", MANY_CLIPS)
def test_a_chunked_clip_equals_its_pieces_in_the_same_place(loaded, clips, family):
    def heard(*parts):
        return user("q", Text("Listen: "), *parts, Text(QUESTIONS[1]))

    model = loaded(family, 4, 2, max_audio_s=2, overlong="chunk")
    whole = heard((clips[3], 1.0, 7.0))
    pieces = heard(*((clips[3], start, start + 2.0) for start in (1.0, 3.0, 5.0)))
    assert answers(model, [whole]) == answers(loaded(family), [pieces])
    short = heard((clips[3], 0.0, 2.0))
    assert answers(model, [short]) == answers(loaded(family), [short])
    usage = next(iter(model.answer([whole]))).usage
    assert usage["audio_s"] == pytest.approx(6.0)
    assert usage["truncated_s"] == 0


@pytest.mark.parametrize("family", MANY_CLIPS)
def test_a_clip_a_few_samples_too_long_is_heard_in_chunks(loaded, clips, family):
    model = loaded(family, 4, 2, max_audio_s=2, overlong="chunk")
    requests = [
        user(str(extra), (clips[3], 0.0, 2.0 + extra / 16000), Text(QUESTIONS[0]))
        for extra in (1, 100, 800)
    ]
    assert answers(model, requests) == singly(model, requests)


@pytest.mark.parametrize("family", ONE_CLIP)
def test_a_family_that_hears_one_clip_refuses_to_chunk(loaded, family):
    with pytest.raises(BenchError, match=r"model\.overlong=chunk") as refusal:
        loaded(family, 4, 2, max_audio_s=2, overlong="chunk")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_depend_on_the_audio(loaded, clips, chords, family):
    for paths in (clips, chords):
        requests = [user(str(i), path, Text("Which do you hear?")) for i, path in enumerate(paths)]
        assert len(set(answers(loaded(family, 4, 2), requests).values())) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_workers_change_nothing(loaded, clips, chords, family):
    requests = [*asked(clips), *(user(f"c{p}", p, Text(QUESTIONS[0])) for p in chords)]
    assert answers(loaded(family, 4, 1), requests) == answers(loaded(family, 4, 4), requests)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_generate(loaded, clips, chords, family, checkpoint):
    requests = [
        *asked(clips),
        user("late", Text("Listen: "), clips[2], Text(QUESTIONS[1])),
        user("mute", Text(QUESTIONS[3])),
    ]
    if family in MANY_CLIPS:
        requests.append(user("two", chords[0], Text("Then: "), chords[1], Text(QUESTIONS[0])))
    stated = loaded(family, 4, 2)
    reference = Reference(stated, checkpoint(family))
    expected = {r.sample_id: reference.answer(r) for r in requests}
    assert answers(stated, requests) == expected
    assert {finish for _, finish in expected.values()} <= {"stop", "length"}


class Reference:
    """One item at a time through the processor and `generate`, as the families' documents show."""

    def __init__(self, stated, folder):
        import transformers as tf

        self.processor = tf.AutoProcessor.from_pretrained(folder)
        self.template = stated.chat_template or getattr(self.processor, "chat_template", None)
        self.network = getattr(tf, stated.class_name()).from_pretrained(folder).float().eval()
        self.base64 = stated.name == "voxtral"
        self.adapter = getattr(stated, "adapter", None)
        if self.adapter:
            self.network.load_adapter(str(folder / self.adapter))

    def answer(self, request):
        import torch

        turns = [{"role": m.role, "content": [*map(self._part, m.parts)]} for m in request.messages]
        inputs = self.processor.apply_chat_template(
            [turns],
            chat_template=self.template,
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        if self.adapter:  # made for hearing; words alone go through the plain language model
            (self.network.enable_adapters if request.clips() else self.network.disable_adapters)()
        with torch.inference_mode():
            sequence = self.network.generate(**inputs, do_sample=False, max_new_tokens=16)[0]
        tokenizer = self.processor.tokenizer
        new = sequence[inputs["input_ids"].shape[1] :].tolist()
        finish = "stop" if tokenizer.eos_token_id in new else "length"
        return tokenizer.decode(new, skip_special_tokens=True).strip(), finish

    def _part(self, part):
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        wave, rate = soundfile.read(part.source.clip.path, dtype="float32")
        if not self.base64:
            return {"type": "audio", "audio": wave}
        file = io.BytesIO()
        soundfile.write(file, wave, rate, format="WAV", subtype="FLOAT")
        return {"type": "audio", "base64": base64.b64encode(file.getvalue()).decode()}
