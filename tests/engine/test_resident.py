"""Real networks behind the stream: what is encoded and read once, and what is told about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lalm_bench.engine.stream import READ_AT_ONCE
from lalm_bench.errors import ConfigError
from lalm_bench.models.hf import HFModel
from lalm_bench.types import Choice, Generation, Runtime

QUESTIONS = [f"{text} {n}" for n in range(4) for text in ("Which event comes next?", "What?")]
LIMIT = 90
CHOICES = (Choice("A", "a dog barks"), Choice("B", "rain"), Choice("10", "none of the above"))


def answers(model, requests):
    """Everything but the timing, by item; none an error."""
    got = {r.sample_id: replace(r, timing=None) for r in model.answer(requests)}
    assert len(got) == len(requests)
    assert not [r.error for r in got.values() if r.error]
    return got


@pytest.fixture
def fresh(checkpoint):
    """`fresh(family, **runtime)`: a model that nobody has asked anything."""

    def load(family, settings=(), **runtime):
        model = HFModel(
            name=family, path=str(checkpoint(family)), dtype="float32", **dict(settings)
        )
        model.load(Runtime(device="cpu", workers=1, **runtime))
        return model

    return load


@pytest.fixture
def eight(ask, clips):
    """Eight questions on one clip."""
    return [ask(f"q{n}", text, clips[2]) for n, text in enumerate(QUESTIONS)]


# ---------------------------------------------------------------------- usage and timing


@pytest.mark.parametrize(
    # One vector for two frames of 20 ms; whole windows; what any clip becomes.
    ("family", "expected"),
    [("qwen2_audio", [20, 127, 57, 242]), ("voxtral", [375] * 4), ("gemma3n", [188] * 4)],
)
def test_audio_tokens_are_counted(loaded, ask, clips, family, expected):
    requests = [ask(str(n), "What?", clip) for n, clip in enumerate(clips)]
    requests += [ask("two", "What?", clips[0], clips[2]), ask("mute", "What?")]
    got = answers(loaded(family), requests)
    assert [got[str(n)].usage["audio_tokens"] for n in range(4)] == expected
    assert got["two"].usage["audio_tokens"] == expected[0] + expected[2]
    assert "audio_tokens" not in got["mute"].usage
    for n, seconds in enumerate((0.8, 5.1, 2.3, 9.7)):
        usage = got[str(n)].usage
        assert usage["audio_s"] == pytest.approx(seconds)
        # The marks around the clip may differ in number from those of a mute prompt.
        text = usage["input_tokens"] - usage["audio_tokens"]
        assert abs(text - got["mute"].usage["input_tokens"]) < 10
    assert got["mute"].usage["audio_s"] == 0


def test_output_tokens_and_the_reason_to_stop_are_those_of_generate(
    loaded, plain, featured, ask, clips
):
    requests = [
        ask(str(n), text, clip, generation=Generation(LIMIT))
        for n, (text, clip) in enumerate(zip(QUESTIONS, clips * 2, strict=True))
    ]
    got = answers(loaded("qwen2_audio"), requests)
    tokenizer = loaded("qwen2_audio").processor.tokenizer
    finishes = set()
    for request in requests:
        inputs = featured("qwen2_audio", request)
        with torch.inference_mode():
            out = plain("qwen2_audio").generate(**inputs, do_sample=False, max_new_tokens=LIMIT)
        new = out[0, inputs["input_ids"].shape[1] :].tolist()
        response = got[request.sample_id]
        assert response.usage["input_tokens"] == inputs["input_ids"].shape[1]
        assert response.usage["output_tokens"] == len(new)
        stopped = new[-1] == tokenizer.eos_token_id
        assert response.finish == ("stop" if stopped else "length")
        assert response.text == tokenizer.decode(new, skip_special_tokens=True).strip()
        finishes.add(response.finish)
    assert finishes == {"stop", "length"}


@pytest.mark.parametrize("mode", ["generate", "letter_likelihood"])
def test_time_is_split_into_stages(fresh, ask, clips, mode):
    model = fresh("qwen2_audio", batch_size=4)
    generation = Generation(mode=mode)
    requests = [
        ask(str(n), "What?", clip, generation=generation, choices=CHOICES)
        for n, clip in enumerate([*clips, *clips])
    ]
    got = list(model.answer(requests))
    stages = ("encoder_s", "prefill_s", "decode_s")
    for response in got:
        assert set(response.timing) == {"featurise_s", *stages}
        assert all(seconds > 0 for seconds in response.timing.values())
    report = model.report()
    spent = sum(r.timing[stage] for r in got for stage in stages)
    assert 0 < spent <= report["answering_s"]
    assert report["idle_share"] == pytest.approx(1 - spent / report["answering_s"], abs=0.01)
    assert (report["tokens_per_s"] is not None) == (mode == "generate")
    assert report["real_time_factor"] > 0
    assert 0 <= report["idle_share"] <= 1
    assert (report["requests"], report["batches"], report["largest_batch"]) == (8, 2, 4)
    assert 0 < report["padding_waste"] < 1
    assert report["tokens_read"] >= sum(r.usage["input_tokens"] for r in got) - 8 * 300
    assert (report["out_of_memory"], report["graphs_refused"]) == (0, None)


def test_a_model_that_was_not_loaded_has_nothing_to_report():
    assert HFModel(name="x", path="x").report() == {}


# ------------------------------------------------------------------------- encoded once


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_clip_is_encoded_once_and_read_once(fresh, eight, batch_size):
    together = fresh("qwen2_audio", batch_size=batch_size)
    got = answers(together, eight)
    timed = fresh("qwen2_audio", batch_size=batch_size, reuse_audio=False)
    assert answers(timed, eight) == got
    once, every = together.report(), timed.report()
    assert (once["audio_asked"], once["audio_encoded"]) == (8, 1)
    assert (every["audio_asked"], every["audio_encoded"]) == (8, 8)
    prompts = [r.usage["input_tokens"] for r in got.values()]
    assert every["tokens_read"] == sum(prompts)
    beginning = max(together._prepare(r).beginning for r in eight)
    assert timed._prepare(eight[0]).beginning == 0, "nothing is shared where nothing is kept"
    batches = -(-8 // batch_size)
    shared = 8 - batches if batch_size > 1 else 0
    assert once["tokens_read"] == sum(prompts) - shared * beginning


def test_clips_that_memory_cannot_hold_are_encoded_for_each_batch(fresh, eight):
    model = fresh("qwen2_audio", batch_size=4)
    model.resident._encoded._memory = 0
    got = answers(model, eight)
    assert model.report()["audio_encoded"] == 2
    assert got == answers(fresh("qwen2_audio"), eight)


def test_two_runs_share_what_was_encoded_on_disk(fresh, ask, clips, tmp_path):
    first = [ask(str(n), "What?", clip) for n, clip in enumerate(clips)]
    other = [ask(str(n), "Choose: A) rain B) a dog", clip) for n, clip in enumerate(clips)]
    cached = {"audio_cache": str(tmp_path / "audio")}
    one = fresh("qwen2_audio", **cached)
    got = answers(one, first)
    assert one.report()["audio_encoded"] == 4
    two = fresh("qwen2_audio", **cached)
    again = answers(two, other)
    assert (two.report()["audio_asked"], two.report()["audio_encoded"]) == (4, 0)
    without = fresh("qwen2_audio", reuse_audio=False)
    assert (answers(without, first), answers(without, other)) == (got, again)


@pytest.mark.parametrize(
    "setting", [("dtype", "bfloat16"), ("max_audio_s", 1.0), ("attn_implementation", "eager")]
)
def test_another_way_of_hearing_shares_nothing(fresh, ask, clips, tmp_path, setting):
    requests = [ask("q", "What?", clips[0])]
    folder = {"audio_cache": str(tmp_path)}
    answers(fresh("qwen2_audio", **folder), requests)
    other = HFModel(**{"name": "x", "path": fresh("qwen2_audio").path, "dtype": "float32"}
                    | dict([setting]))  # fmt: skip
    other.load(Runtime(device="cpu", workers=1, **folder))
    answers(other, requests)
    assert other.report()["audio_encoded"] == 1


def test_a_torn_file_is_encoded_again(fresh, ask, clips, tmp_path):
    requests = [ask("q", "What?", clips[0])]
    cached = {"audio_cache": str(tmp_path)}
    got = answers(fresh("qwen2_audio", **cached), requests)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-9])
    for encoded in (1, 0):
        model = fresh("qwen2_audio", **cached)
        assert answers(model, requests) == got
        assert model.report()["audio_encoded"] == encoded


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_asked(fresh, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"runtime\.audio_cache=.*name a folder to write to"):
            fresh("qwen2_audio", audio_cache=str(path))


# --------------------------------------------------------------------- running out of memory


@pytest.mark.parametrize("mode", ["generate", "letter_likelihood"])
def test_a_batch_that_runs_out_of_memory_is_answered_in_halves(
    fresh, ask, clips, mode, monkeypatch
):
    """A limit of ours stands in for the GPU's: the forward pass refuses more than two rows."""
    requests = [
        ask(str(n), text, clips[n % 4], generation=Generation(mode=mode), choices=CHOICES)
        for n, text in enumerate(QUESTIONS)
    ]
    expected = answers(fresh("qwen2_audio", batch_size=8, batch_tokens=8000), requests)
    model = fresh("qwen2_audio", batch_size=8, batch_tokens=8000)
    decoder, refused = model.network.get_decoder(), []
    real = decoder.forward

    def small(*args, **kwargs):
        rows = len(kwargs["inputs_embeds"] if kwargs.get("inputs_embeds") is not None
                   else kwargs["input_ids"])  # fmt: skip
        if rows > 2:
            refused.append(rows)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **kwargs)

    monkeypatch.setattr(decoder, "forward", small)
    got = answers(model, requests)
    assert {k: (r.text, r.finish) for k, r in got.items()} == {
        k: (r.text, r.finish) for k, r in expected.items()
    }
    for name, response in got.items():
        if mode != "generate":
            assert response.scores == pytest.approx(expected[name].scores, abs=1e-4)
    report = model.report()
    assert refused
    assert report["out_of_memory"] >= 1
    assert report["batch_tokens"] < 8000
    assert report["requests"] == len(requests)


def test_prompts_that_fill_a_pass_are_read_apart_and_answered_together(fresh, ask, monkeypatch):
    model, passes = fresh("qwen2_audio", batch_size=8, batch_tokens=10**6), []
    real = model.resident.read
    monkeypatch.setattr(
        model.resident, "read", lambda items, *a: passes.append(len(items)) or real(items, *a)
    )
    word = "rain "
    once = len(model.processor.tokenizer(word * 100)["input_ids"])
    long = word * (100 * READ_AT_ONCE // once // 3)
    requests = [ask(str(n), f"{long} {n}") for n in range(4)]
    got = answers(model, requests)
    assert passes == [3, 1]
    assert model.report()["largest_batch"] == 4
    assert READ_AT_ONCE / 4 < got["0"].usage["input_tokens"] < READ_AT_ONCE / 2
    assert got == {k: v for r in requests for k, v in answers(model, [r]).items()}
