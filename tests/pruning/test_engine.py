"""Pruned prompts: every logit is that of the whole prompt under masks that hide what was dropped.

The reference is transformers' own forward pass, without a cache, over the prompt and what was
written; it shares no code with the engine. float32.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from lalm_bench.engine import decode
from lalm_bench.engine.layers import FULL, Stack
from lalm_bench.engine.likelihood import continuation_logprobs
from lalm_bench.engine.listening import audio_token
from lalm_bench.engine.stages import Stages
from lalm_bench.pruning.eviction import Eviction
from lalm_bench.pruning.methods.dart import Dart
from lalm_bench.pruning.methods.fastv import FastV
from lalm_bench.pruning.methods.frame import Frame
from lalm_bench.pruning.methods.keydiff import KeyDiff
from lalm_bench.pruning.methods.merge import Merge
from lalm_bench.pruning.methods.pooling import Pooling
from lalm_bench.pruning.methods.random import Random
from lalm_bench.pruning.methods.snapkv import SnapKV
from lalm_bench.pruning.methods.streaming import Streaming
from lalm_bench.pruning.none import NoPruning
from lalm_bench.pruning.prefill import PrefillPruning
from lalm_bench.types import Generation, Message, Request, Text
from tests.pruning.prompts import (
    EQUAL_LENGTH,
    FAMILIES,
    ONE_CLIP,
    TEXTS,
    WRITTEN,
    Noted,
    asked,
    assert_near,
    batches_of,
    blinded,
    heard,
    layer_of,
    places,
    written,
)

SCORERS = {"keydiff": KeyDiff(), "snapkv": SnapKV(window=4)}
METHODS = {"random": Random(), "fastv": FastV(), "dart": Dart(), "frame": Frame()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "layer"), [("random", 0), ("random", None), ("fastv", None), ("dart", None)]
)
def test_logits_are_those_of_a_masked_prompt(loaded, featured, masked, clips, family, name, layer):
    layer = layer_of(family) if layer is None else layer
    model, requests = loaded(family), asked(clips)
    method = Noted(METHODS[name])
    pruning = PrefillPruning(name=name, method=method, ratio=0.5, layer=layer, seed=3)
    logits, tokens, _ = written(model, pruning, batches_of(family, requests))
    for row, request in enumerate(requests):
        blind = blinded(featured(family, request), model, method.kept[row])
        hidden = partial(from_layer, layer, blind)
        assert_near(logits[row], masked(family, request, tokens[row][:-1], hidden))


def from_layer(layer, blind, number):
    return blind if number >= layer else None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", [Pooling(), Merge()], ids=["pooling", "merge"])
def test_merged_audio_stands_where_its_first_token_stood(
    loaded, featured, masked, clips, family, method
):
    model, requests, method = loaded(family), asked(clips), Noted(method)
    pruning = PrefillPruning(name="merged", method=method, ratio=0.5, layer=0)
    logits, tokens, _ = written(model, pruning, batches_of(family, requests))
    for row, request in enumerate(requests):
        blind = blinded(featured(family, request), model, method.kept[row])
        values = (method.kept[row], method.values[row])
        hidden = partial(from_layer, 0, blind)
        expected = masked(family, request, tokens[row][:-1], hidden, values=values)
        assert_near(logits[row], expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_fastv_keeps_what_eager_attention_says(loaded, plain, featured, clips, family):
    model, requests, layer = loaded(family), asked(clips), layer_of(family)
    method = Noted(FastV())
    pruning = PrefillPruning(name="fastv", method=method, ratio=0.5, layer=layer)
    written(model, pruning, batches_of(family, requests))
    eager = plain(family, attn_implementation="eager")
    for row, request in enumerate(requests):
        features = featured(family, request)
        with torch.inference_mode():
            weights = eager(**features, output_attentions=True).attentions[layer - 1]
        audio = places(features, model)
        scores = weights[0, :, -1].mean(0)[audio]
        # Beyond a sliding window all scores are 0: of equals the earlier stay.
        order = scores.argsort(descending=True, stable=True)
        best = audio[order[: len(audio) // 2]].sort().values
        assert best.tolist() == method.kept[row].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_hold_what_they_are_said_to_hold(loaded, clips, family):
    model, requests, layer = loaded(family), asked(clips), layer_of(family)
    pruning = PrefillPruning(name="frame", method=Frame(), ratio=0.75, layer=layer)
    items = [model._prepare(r) for r in requests[: 1 if family in EQUAL_LENGTH else 3]]
    with pruning(model):
        read = model.resident.read(items, Stages(torch.device("cpu")))
    usages = model.resident.usage(items, read)
    longest = max(item.inputs["input_ids"].shape[1] for item in items)
    short = []
    for item, usage, said in zip(items, usages, read.pruned.lengths, strict=True):
        audio = int((item.inputs["input_ids"] == audio_token(model.network.config)).sum())
        kept = max(1, int(audio * 0.25))
        assert (usage["audio_tokens"], usage["audio_tokens_kept"]) == (audio, kept)
        short.append(usage["input_tokens"] - audio + kept)
        assert short[-1] == said
        per_token = [2 * 4 * held.keys.shape[1] * held.keys.shape[3] for held in read.cache.layers]
        expected = sum(per_token[:layer]) * usage["input_tokens"] + sum(per_token[layer:]) * said
        assert usage["kv_bytes"] == expected
    for number, held in enumerate(read.cache.layers):
        assert held.keys.shape[2] == held.values.shape[2] == (longest, max(short))[number >= layer]
    assert read.pruned.mask.sum(1).tolist() == short


@pytest.mark.parametrize("family", FAMILIES)
def test_ratio_0_is_the_model_itself(loaded, clips, family):
    model, requests, layer = loaded(family), asked(clips), layer_of(family)
    batches = batches_of(family, requests)
    whole, tokens, _ = written(model, NoPruning(), batches)
    for pruning in (
        PrefillPruning(name="fastv", method=FastV(), ratio=0, layer=layer),
        Eviction(name="snapkv", method=SnapKV(), ratio=0),
    ):
        found, same, parts = written(model, pruning, batches)
        assert torch.equal(found, whole)
        assert same == tokens
        assert all(part.pruned is None for part in parts)


# The padding of a short clip sounds all alike to Gemma 3n: to DART, one of many equals.
@pytest.mark.parametrize(
    ("name", "family"),
    [
        *(("random", family) for family in FAMILIES),
        *(("fastv", family) for family in FAMILIES),
        *(("dart", family) for family in FAMILIES if family != "gemma3n"),
        *(("snapkv", family) for family in FAMILIES),
        ("keydiff", "qwen2_audio"),
        ("keydiff", "gemma3n"),
    ],
)
def test_a_pruned_batch_equals_single_requests(loaded, clips, family, name):
    requests = [
        replace(r, generation=Generation(max_new_tokens=12)) for r in asked(clips, TEXTS * 2)
    ]
    if name in METHODS:
        pruning = PrefillPruning(
            name=name, method=METHODS[name], ratio=0.7, layer=layer_of(family), seed=1
        )
    else:
        pruning = Eviction(name=name, method=SCORERS[name], ratio=0.7)
    model = loaded(family, batch_size=8)
    with pruning(model):
        alone = [texts(model, [r]) for r in requests]
        together = texts(model, requests)
        backwards = texts(model, requests[::-1])
    assert together == backwards == {k: v for one in alone for k, v in one.items()}
    assert together != texts(model, requests)


def texts(model, requests):
    got = list(model.answer(requests))
    assert [r.error for r in got] == [None] * len(requests)
    return {r.sample_id: (r.text, r.finish) for r in got}


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ONE_CLIP])
def test_several_clips_are_pruned_as_one_budget(loaded, featured, masked, chords, family):
    model = loaded(family)
    parts = (Text("First: "), heard(chords[0]), Text("then: "), heard(chords[1]), Text("Which?"))
    request = Request("two", (Message("user", parts),), generation=Generation(WRITTEN + 1))
    method, layer = Noted(Random()), layer_of(family)
    pruning = PrefillPruning(name="random", method=method, ratio=0.6, layer=layer)
    logits, tokens, _ = written(model, pruning, [[request]])
    features = featured(family, request)
    audio = places(features, model)
    assert (audio.diff() > 1).any()
    assert len(method.kept[0]) == int(0.4 * len(audio) + 1e-9)
    hidden = partial(from_layer, layer, blinded(features, model, method.kept[0]))
    assert_near(logits[0], masked(family, request, tokens[0][:-1], hidden))


@pytest.mark.parametrize("family", ["qwen2_audio", "gemma3n", "voxtral"])
@pytest.mark.parametrize("kind", ["prefill", "first", "eviction"])
def test_continuations_are_compared_as_they_would_be_written(
    loaded, featured, masked, clips, family, kind
):
    """Several tokens are read at once behind a pruned prompt, filled up behind."""
    model, requests, layer = loaded(family), asked(clips)[:2], layer_of(family)
    method = Noted(Random())
    layer = 0 if kind == "first" else layer
    pruning = PrefillPruning(name="random", method=method, ratio=0.6, layer=layer)
    if kind == "eviction":
        pruning = Eviction(name="streaming", method=Streaming(sinks=0), ratio=0.5)
    items = [model._prepare(r) for r in requests]
    pairs = [(0, (5, 6, 7)), (1, (8, 9)), (0, (11,)), (1, (5, 9, 12, 3))]
    with pruning(model):
        read = model.resident.read(items, Stages(torch.device("cpu")))
        values = continuation_logprobs(model.resident.reader, read, pairs, 8)
    for (row, continuation), value in zip(pairs, values, strict=True):
        features = featured(family, requests[row])
        audio = places(features, model)
        if kind == "eviction":
            hidden = partial(oldest, Stack(model.network).kinds, features, audio)
            since = features["input_ids"].shape[1]
        else:
            hidden = partial(from_layer, layer, blinded(features, model, method.kept[row]))
            since = 0
        logits = masked(
            family, requests[row], list(continuation[:-1]), hidden, lambda number, s=since: s
        )
        expected = logits.log_softmax(-1)[range(len(continuation)), list(continuation)].sum()
        assert value == pytest.approx(float(expected), abs=1e-4)


def oldest(kinds, features, audio, number):
    blind = torch.zeros(features["input_ids"].shape[1], dtype=torch.bool)
    blind[audio[: len(audio) - len(audio) // 2]] = True
    return blind if kinds[number] == FULL else None


@pytest.mark.parametrize("family", ["qwen2_audio", "gemma3n"])
def test_answers_longer_than_the_room_and_rows_that_end_early(loaded, clips, family, monkeypatch):
    monkeypatch.setattr(decode, "ROOM", 8)
    requests = [
        replace(r, generation=Generation(max_new_tokens=40)) for r in asked(clips, TEXTS * 2)
    ]
    pruning = PrefillPruning(name="frame", method=Frame(), ratio=0.8, layer=layer_of(family))
    model = loaded(family, batch_size=8)
    with pruning(model):
        alone = [texts(model, [r]) for r in requests]
        monkeypatch.setattr(decode, "ROOM", 128)
        together = texts(model, requests)
    assert together == {k: v for one in alone for k, v in one.items()}


@pytest.mark.parametrize("name", ["random", "fastv"])
def test_questions_on_one_clip_share_no_pruned_beginning(loaded, clips, name):
    """What stays depends on the question, and a draw on the item."""
    model = loaded("qwen2_audio", batch_size=8)
    same = [clips[2]] * 6
    requests = [replace(r, key=f"{r.key} on one") for r in asked(same, TEXTS * 2)]
    pruning = PrefillPruning(name=name, method=METHODS[name], ratio=0.7, layer=2)
    with pruning(model):
        alone = [texts(model, [r]) for r in requests]
        read = model.resident.reader.tokens
        together = texts(model, requests)
        lengths = [model._prepare(r).inputs["input_ids"].shape[1] for r in requests]
        assert model.resident.reader.tokens - read == sum(lengths)
    assert together == {k: v for one in alone for k, v in one.items()}
    read = model.resident.reader.tokens
    texts(model, requests)
    assert model.resident.reader.tokens - read < sum(lengths)
