"""What is captured is what transformers' own eager attention says, in every family.

The reference is each family's forward pass with `output_attentions` over the features of its own
processor; it shares no code with the engine. float32, but for one network
whose random weights give logits so large that two ways to compute them differ by more than 1e-4.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lalm_bench.capture import weights
from lalm_bench.capture.observer import Observer, _Reading
from lalm_bench.capture.tokens import AUDIO, KINDS, TEXT, special_ids
from lalm_bench.engine.layers import SLIDING, Stack
from lalm_bench.engine.stages import Stages
from lalm_bench.errors import ModelError
from lalm_bench.pruning.fitting import pruned_by
from lalm_bench.types import Generation, Message, Request, Text
from tests.pruning.prompts import FAMILIES, ONE_CLIP, TEXTS, asked, batches_of, heard, places

LAYERS = 4
DOUBLE = ("granite_speech",)


def observed(model, batches, heads="all", full_bytes=1 << 30, layers=range(LAYERS)):
    """Name -> what was seen of each request, read in batches."""
    found = {}
    special = special_ids(model.resident.tokenizer)
    observer = Observer(Stack(model.network), layers, heads, special, full_bytes, found.__setitem__)
    with pruned_by(model, observer):
        for batch in batches:
            model.resident.read([model._prepare(r) for r in batch], Stages(torch.device("cpu")))
    return found


def precise(loaded, family):
    model = loaded(family, again="precise")
    if family in DOUBLE:
        model.network.double()
    return model


def eager(plain, featured, family, request):
    """Layers' weights (heads, tokens, tokens), and the features."""
    features = featured(family, request)
    network = plain(family, attn_implementation="eager")
    if family in DOUBLE:
        network.double()
        features = {k: v.double() if v.is_floating_point() else v for k, v in features.items()}
    with torch.inference_mode():
        output = network(**features, output_attentions=True)
    return [layer[0].numpy() for layer in output.attentions], features


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_eager_attention(loaded, plain, featured, clips, family):
    """Mixed lengths in one batch where the family may: rows are padded then."""
    model, requests = precise(loaded, family), asked(clips)
    found = observed(model, batches_of(family, requests))
    assert sorted(found) == [r.sample_id for r in requests]
    for request in requests:
        expected, features = eager(plain, featured, family, request)
        seen = found[request.sample_id]
        ids = features["input_ids"][0]
        assert seen.ids.tolist() == ids.tolist()
        audio = places(features, model)
        assert np.flatnonzero(seen.kinds == AUDIO).tolist() == audio.tolist()
        queries = seen.queries
        assert len(queries) > 0
        assert (queries > int(audio[0])).all()
        assert (seen.kinds[queries] == TEXT).all()
        for number, layer in enumerate(expected):
            near = {"rtol": 0, "atol": 1e-4}
            np.testing.assert_allclose(seen.last[number], layer[:, -1], **near)
            np.testing.assert_allclose(seen.text[number], layer[:, queries].mean(1), **near)
            for kind in range(len(KINDS)):
                share = layer[:, queries][..., seen.kinds == kind].sum(-1)
                np.testing.assert_allclose(seen.shares[number, ..., kind], share, **near)
            # Queries of audio may see more than what lies before them: only text is compared.
            behind = slice(int(audio[-1]) + 1, None)
            np.testing.assert_allclose(seen.full[number][:, behind], layer[:, behind], **near)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_sum_to_1(loaded, clips, family):
    for heads, groups in (("mean", 1), ("groups", 2), ("all", 4)):
        for seen in observed(loaded(family), batches_of(family, asked(clips)), heads).values():
            assert seen.last.shape == seen.text.shape == (LAYERS, groups, len(seen.ids))
            assert seen.shares.shape == (LAYERS, groups, len(seen.queries), len(KINDS))
            for rows in (seen.last, seen.text, seen.shares, seen.full):
                np.testing.assert_allclose(rows.sum(-1), 1, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["gemma3n", "gemma4"])
def test_windows_hide_what_lies_far_back(loaded, clips, family):
    model = loaded(family)
    stack = Stack(model.network)
    (seen,) = observed(model, [asked(clips)[1:2]]).values()
    tokens = len(seen.ids)
    assert tokens > stack.window
    for number, kind in enumerate(stack.kinds):
        far = seen.last[number][:, : tokens - stack.window]
        assert (far == 0).all() == (kind == SLIDING)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ONE_CLIP])
def test_text_between_clips_counts_as_later_text(loaded, plain, featured, chords, family):
    parts = (Text("First: "), heard(chords[0]), Text("then: "), heard(chords[1]), Text("Which?"))
    request = Request("two", (Message("user", parts),), generation=Generation(5))
    model = precise(loaded, family)
    seen = observed(model, [[request]])["two"]
    expected, features = eager(plain, featured, family, request)
    audio = places(features, model)
    assert (seen.queries < int(audio[-1])).any()
    for number, layer in enumerate(expected):
        np.testing.assert_allclose(
            seen.text[number], layer[:, seen.queries].mean(1), rtol=0, atol=1e-4
        )


def test_pieces_change_nothing(loaded, clips, monkeypatch):
    model, batches = loaded("gemma3n"), [asked(clips)]
    whole = observed(model, batches)
    monkeypatch.setattr(weights, "AT_ONCE", 2000)
    for name, seen in observed(model, batches).items():
        for field in ("last", "text", "shares", "full"):
            np.testing.assert_allclose(
                getattr(seen, field), getattr(whole[name], field), rtol=0, atol=1e-6
            )


class Largest(TorchDispatchMode):
    """Numbers in the largest tensor that was made."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.most = max(self.most, *sizes, 0)
        return out


def test_nothing_of_the_size_tokens_times_tokens_is_made(loaded, clips, monkeypatch):
    """Reading one more query at a time than said would show."""
    model, request = loaded("qwen2_audio"), asked([clips[3]])[0]
    tokens = model._prepare(request).inputs["input_ids"].shape[1]
    limit, largest, real = 4 * tokens * 8, Largest(), _Reading.layer
    monkeypatch.setattr(weights, "AT_ONCE", limit)

    def measured(self, *args):
        with largest:
            real(self, *args)

    monkeypatch.setattr(_Reading, "layer", measured)
    (seen,) = observed(model, [[request]], full_bytes=None).values()
    assert len(seen.queries) > 8
    assert largest.most == limit < 4 * len(seen.queries) * tokens < 4 * tokens**2


def test_layers_are_chosen(loaded, clips):
    model, batches = loaded("qwen2_audio"), [asked(clips)[:1]]
    (whole,), (some,) = (
        observed(model, batches).values(),
        observed(model, batches, layers=[3, 1]).values(),
    )
    assert np.array_equal(some.last, whole.last[[1, 3]])


def test_no_more_is_held_than_was_said(loaded, clips):
    model, request = loaded("qwen2_audio"), asked(clips)[0]
    tokens = model._prepare(request).inputs["input_ids"].shape[1]
    size = 4 * LAYERS * 2 * tokens**2
    assert observed(model, [[request]], "groups", size)["q0"].full.nbytes == size
    with pytest.raises(ModelError, match=r"capture\.full_mb=.*capture\.heads=mean"):
        observed(model, [[request]], "groups", size - 1)
    assert observed(model, [[request]], "groups", None)["q0"].full is None


@pytest.mark.parametrize("family", ["qwen2_audio", "gemma3n"])
def test_answers_are_the_same_while_it_watches(loaded, clips, family):
    requests = [replace(r, generation=Generation(max_new_tokens=8)) for r in asked(clips, TEXTS)]
    model = loaded(family)
    before = [r.text for r in model.answer(requests)]
    special = special_ids(model.resident.tokenizer)
    observer = Observer(
        Stack(model.network), range(LAYERS), "mean", special, None, lambda name, seen: None
    )
    with pruned_by(model, observer):
        assert [r.text for r in model.answer(requests)] == before
    assert [r.text for r in model.answer(requests)] == before
