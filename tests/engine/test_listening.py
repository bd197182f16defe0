"""Audio as vectors: those of a plain forward pass, whatever the batch, and nothing left behind."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from lalm_bench.engine import listening
from lalm_bench.engine.listening import Listener, audio_token, trimmed
from lalm_bench.errors import ModelError

FAMILIES = (
    "qwen2_audio",
    "qwen2_5_omni",
    "qwen3_omni",
    "voxtral",
    "gemma3n",
    "granite_speech",
    "qwen3_asr",
)
TRIMMED = ("qwen2_audio", "audio_flamingo_3", "music_flamingo")


@pytest.fixture
def heard_plainly(plain, featured, loaded):
    """`heard_plainly(family, request)`: vectors at the entrance of the language model.

    From the family's own forward pass over what its processor makes of one request.
    """

    def hear(family, request):
        network, caught = plain(family), []
        inputs = featured(family, request)
        hook = network.get_decoder().register_forward_pre_hook(
            lambda module, args, kwargs: caught.append(kwargs["inputs_embeds"]), with_kwargs=True
        )
        try:
            with torch.inference_mode():
                network(**inputs)
        finally:
            hook.remove()
        return caught[0][0, loaded(family)._listener.places(inputs["input_ids"][0])]

    return hear


@pytest.fixture(scope="module")
def lengths(tmp_path_factory):
    """`lengths(seconds)`: a recording of so many seconds."""
    root = tmp_path_factory.mktemp("lengths")

    def write(seconds):
        t = np.arange(round(seconds * 16000)) / 16000
        noise = 0.05 * np.random.default_rng(5).standard_normal(len(t))
        soundfile.write(root / f"{seconds}.wav", 0.2 * np.sin(1500 * t) + noise, 16000)
        return str(root / f"{seconds}.wav")

    return write


def features(model, requests):
    return [model._prepare(request).inputs for request in requests]


def near(vectors, expected):
    torch.testing.assert_close(vectors.clone(), expected.clone(), rtol=1e-5, atol=1e-5)
    return True


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_those_inside_a_plain_forward_pass(
    loaded, heard_plainly, ask, clips, family, monkeypatch
):
    model = loaded(family)
    if family == "granite_speech":  # it hears the padding of a shorter clip
        clips = [clips[1]] * 3
    requests = [ask(str(i), "What?" * (i + 1), clip) for i, clip in enumerate(clips)]
    expected = [heard_plainly(family, request) for request in requests]
    items = features(model, requests)
    for at_once in (32, 2):
        monkeypatch.setattr(listening, "ENCODED_AT_ONCE", at_once)
        got = model._listener.encode(items)
        places = [model._listener.places(item["input_ids"]) for item in items]
        assert [len(v) for v in got] == [int(where.sum()) for where in places]
        assert all(near(v, e) for v, e in zip(got, expected, strict=True))
    assert model._listener.encode([]) == []


def test_several_clips_of_a_request_come_in_order(loaded, heard_plainly, ask, clips):
    model = loaded("qwen2_audio")
    requests = [ask("a", "What?", clips[2], clips[0]), ask("b", "What?", clips[1])]
    got = model._listener.encode(features(model, requests))
    assert all(near(v, heard_plainly("qwen2_audio", r)) for v, r in zip(got, requests, strict=True))
    alone = [heard_plainly("qwen2_audio", ask("x", "", clips[i])) for i in (2, 0)]
    assert near(got[0], torch.cat(alone))


def test_hearing_puts_vectors_where_audio_stands_and_nowhere_else(loaded, ask, clips):
    model, caught = loaded("qwen2_audio"), []
    listener, network = model._listener, model.network
    items = features(model, [ask("a", "What?", clips[0]), ask("b", "What?" * 9, clips[0])])
    ids = torch.nn.utils.rnn.pad_sequence([i["input_ids"][0] for i in items], batch_first=True)
    places = listener.places(ids)
    given = [torch.full((int(row.sum()), 64), 1.0 + n) for n, row in enumerate(places)]
    for vectors in (given, []):
        with torch.inference_mode(), listener.hearing(ids, vectors):
            # Hooks run in the order in which they come.
            hook = network.get_decoder().register_forward_pre_hook(
                lambda module, args, kwargs: caught.append(kwargs["inputs_embeds"]),
                with_kwargs=True,
            )
            network(input_ids=ids)
            hook.remove()
    heard, plain = caught
    for n in range(2):
        assert (heard[n][places[n]] == 1.0 + n).all()
        assert torch.equal(heard[n][~places[n]], plain[n][~places[n]])


# --------------------------------------------------------------------------- trimmed silence


@pytest.mark.parametrize("family", TRIMMED)
def test_trimmed_clips_sound_like_untrimmed_ones(loaded, plain, featured, ask, lengths, family):
    seconds = (0.05, 1, 1.01, 7.333, 29.99, 30)
    requests = [ask(str(s), "What?", lengths(s)) for s in seconds]
    short, long = features(loaded(family), requests), [featured(family, r) for r in requests]
    frames = [item["input_features"].shape[-1] for item in short]
    assert [item["input_features"].shape[-1] for item in long] == [3000] * len(seconds)
    # Of 10 ms; two more than there is sound, rounded up to fours, as the convolutions see them.
    wanted = [min(-(-(round(s * 100) + 2) // 4) * 4, 3000) for s in seconds]
    assert all(abs(have - want) <= 4 for have, want in zip(frames, wanted, strict=True))
    trims = loaded(family)._listener
    whole = Listener(plain(family), trims._pad_id)
    expected = [whole.encode([item])[0] for item in long]
    for got in ([trims.encode([item])[0] for item in short], trims.encode(short)):
        assert all(near(v, e) for v, e in zip(got, expected, strict=True))
    assert len(trims.encode(short[:1])[0]) >= 1


@pytest.mark.parametrize("family", TRIMMED[1:])
def test_clips_of_several_windows_sound_the_same(loaded, plain, featured, ask, lengths, family):
    requests = [ask(str(s), "What?", lengths(s)) for s in (40.5, 1)]
    short, long = features(loaded(family), requests), [featured(family, r) for r in requests]
    whole = Listener(plain(family), loaded(family)._listener._pad_id)
    expected = [whole.encode([item])[0] for item in long]
    got = loaded(family)._listener.encode(short)
    assert all(near(v, e) for v, e in zip(got, expected, strict=True))


def test_features_without_a_mask_are_left_alone(loaded, ask, clips):
    (voxtral,) = features(loaded("voxtral"), [ask("a", "What?", clips[0])])
    assert trimmed(voxtral) is voxtral


# --------------------------------------------------------------------------- nothing left behind


def state(model):
    """Hooks of every module, and what listening borrows from the encoder."""
    encoder = model._listener._encoder
    hooks = [
        (name, len(m._forward_hooks), len(m._forward_pre_hooks))
        for name, m in model.network.named_modules()
    ]
    borrowed = encoder and (
        id(encoder.embed_positions.weight),
        encoder.embed_positions.weight.shape,
        encoder.config.max_source_positions,
    )
    return hooks, borrowed


def _broken(*args, **kwargs):
    raise RuntimeError("out of order")


@pytest.mark.parametrize(
    ("family", "ear"),
    [("qwen2_audio", "audio_tower"), ("phi4_multimodal", "embed_tokens_extend.audio_embed")],
)
def test_encoding_leaves_nothing_behind(loaded, ask, clips, family, ear, monkeypatch):
    model = loaded(family)
    before = state(model)
    items = features(model, [ask("a", "What?", clips[0])])
    model._listener.encode(items)
    assert state(model) == before

    with monkeypatch.context() as patch:
        patch.setattr(model.network.model.get_submodule(ear), "forward", _broken)
        with pytest.raises(RuntimeError, match="out of order"):
            model._listener.encode(items)
    assert state(model) == before

    with (
        pytest.raises(RuntimeError, match="elsewhere"),
        model._listener.hearing(items[0]["input_ids"], model._listener.encode(items)),
    ):
        raise RuntimeError("elsewhere")
    assert state(model) == before


def test_a_forward_pass_that_never_arrives_is_an_error(loaded, ask, clips, monkeypatch):
    model = loaded("qwen2_audio")
    items = features(model, [ask("a", "What?", clips[0])])
    monkeypatch.setattr(model.network, "forward", lambda **inputs: None)
    before = state(model)
    with pytest.raises(ModelError, match="never reached its language model"):
        model._listener.encode(items)
    assert state(model) == before


def test_the_audio_token_is_found_or_missed(loaded):
    assert audio_token(SimpleNamespace(audio_token_id=5, audio_token_index=6)) == 5
    assert audio_token(SimpleNamespace(audio_token_index=0)) == 0
    inner = SimpleNamespace(audio_token_id=7)
    assert audio_token(SimpleNamespace(audio_token_id=None, audio_config=inner)) == 7
    with pytest.raises(ModelError, match="LlamaConfig names no audio token"):
        audio_token(loaded("tiny_llama").network.config)


def test_a_network_without_a_table_of_positions_cannot_trim(loaded):
    network = loaded("qwen3_asr").network
    for module in network.modules():
        assert not (hasattr(module, "embed_positions") and hasattr(module, "conv1"))
    with pytest.raises(ModelError, match="has no audio encoder with embed_positions"):
        Listener(network, 0, trims=True)
