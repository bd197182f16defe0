"""Attention of ours beside the plain arithmetic, and beside transformers' own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers.integrations import sdpa_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lalm_bench.engine import attention
from lalm_bench.engine.choose import Greedy
from lalm_bench.engine.decode import Decoder
from lalm_bench.engine.prefill import Reader, Row


def plainly(query, key, value, seen, scaling):
    """(rows, tokens, heads, size): every query head on its own copy of the keys."""
    copies = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(copies, dim=1).double() for t in (key, value))
    weights = query.double() @ key.transpose(2, 3) * scaling
    return (weights.masked_fill(~seen, -torch.inf).softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("key_heads", [1, 2, 6])
@pytest.mark.parametrize("masked", [True, False])
def test_grouped_keys_are_read_as_if_repeated(tokens, key_heads, masked):
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(4, 6, tokens, 8, generator=draw)
    key, value = torch.randn(2, 4, key_heads, 9, 8, generator=draw)
    seen = torch.rand(4, 1, tokens, 9, generator=draw) > 0.4
    seen[..., 0] = True
    module = SimpleNamespace(num_key_value_groups=6 // key_heads, is_causal=False)
    got, _ = attention._grouped(
        module, query, key, value, seen if masked else None, scaling=0.3, is_causal=False
    )
    expected = plainly(query, key, value, seen if masked else torch.tensor(True), 0.3)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


def test_masks_that_differ_by_head_are_left_to_transformers():
    query, key = torch.randn(2, 4, 1, 8), torch.randn(2, 2, 5, 8)
    seen = torch.rand(2, 4, 1, 5) > 0.5
    seen[..., 0] = True
    module = SimpleNamespace(num_key_value_groups=2, is_causal=True)
    got, _ = attention._grouped(module, query, key, key, seen, scaling=1.0)
    expected = plainly(query, key, key, seen, 1.0)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


def test_older_transformers_get_it_and_answer_the_same(loaded, monkeypatch):
    resident = loaded("tiny_llama").resident
    rows = []
    for text in ("Which event comes next?", "a dog"):
        ids = torch.tensor([resident.tokenizer(text)["input_ids"]])
        rows.append(Row({"input_ids": ids, "attention_mask": torch.ones_like(ids)}))

    def write():
        decoder = Decoder(resident.network, resident.decoder.facts)
        read = Reader(resident.network, None, 0).read(rows)
        return decoder.write([read], Greedy(), 20)

    newer = ALL_ATTENTION_FUNCTIONS["sdpa"]
    expected = write()
    if hasattr(sdpa_attention, "pack_gqa"):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is newer, "newer ones do it themselves"
        monkeypatch.setattr(attention, "sdpa_attention", _Older(sdpa_attention))
    calls = []
    real = attention._grouped
    monkeypatch.setattr(
        attention, "_grouped", lambda *a, **k: calls.append(a[1].shape[2]) or real(*a, **k)
    )
    try:
        assert write() == expected
    finally:
        ALL_ATTENTION_FUNCTIONS.register("sdpa", newer)
    assert calls.count(1) > 20


class _Older:
    """transformers before it packed grouped keys: a stand-in, because one version is here."""

    def __init__(self, module):
        self.sdpa_attention_forward = module.sdpa_attention_forward


@pytest.mark.parametrize("lengths", [[5], [4, 4, 4], [7, 1, 3, 7, 2]])
def test_every_token_sees_its_own_chunk_and_no_other(lengths):
    draw = torch.Generator().manual_seed(1)
    query, key, value = torch.randn(3, 1, 4, sum(lengths), 8, generator=draw)
    ends = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    got, _ = attention._within_chunks(
        SimpleNamespace(),
        query,
        key,
        value,
        None,
        cu_seq_lens_q=ends,
        max_length_q=max(lengths),
        scaling=0.4,
    )
    chunk = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    seen = chunk[:, None] == chunk
    expected = plainly(query, key, value, seen, 0.4)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["qwen2_5_omni", "qwen3_omni", "qwen3_asr"])
def test_encoders_that_attend_in_chunks_do_so_once_a_layer(loaded, ask, clips, family, monkeypatch):
    model, calls = loaded(family), []
    real = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *a, **k: calls.append(len(a[0])) or real(*a, **k),
    )
    items = [model._prepare(ask(str(i), "What?", clips[i])).inputs for i in (1, 3)]
    model._listener.encode(items)
    names = [type(module).__name__ for module in model.network.modules()]
    assert len(calls) == sum(name.endswith("AudioEncoderLayer") for name in names) > 0
    assert min(calls) > 2, "all chunks of both clips"
