"""Fused pieces compute what they computed before, and can be taken apart again."""

from __future__ import annotations

import shutil
import sys

import pytest
import torch

from lalm_bench.engine.fuse import fuse, unfuse


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler (g++)")
def test_fusing_changes_no_answer_and_can_be_undone(loaded, ask):
    model = loaded("tiny_llama", again="fused")
    network = model.network
    source = sys.modules[type(network).__module__]
    rotary = source.apply_rotary_pos_emb
    requests = [ask("a", "Which event comes next?"), ask("b", "a dog barks B) a car passes")]

    def answers():
        return {r.sample_id: (r.text, r.error) for r in model.answer(requests)}

    def pieces():
        return [type(m).__name__ for m in network.modules() if "forward" in vars(m)]

    expected = answers()
    assert not any(error for _, error in expected.values())
    try:
        fuse(network)
        layers = len(network.model.layers)
        assert sorted(pieces()) == ["LlamaMLP"] * layers + ["LlamaRMSNorm"] * (2 * layers + 1)
        assert source.apply_rotary_pos_emb is not rotary
        compiled = source.apply_rotary_pos_emb
        before = _compiled_frames()
        assert answers() == expected
        assert _compiled_frames() >= before + 3, "norm, rotary embedding and activation"
        fuse(network)
        assert source.apply_rotary_pos_emb is compiled, "fusing twice is fusing once"
    finally:
        unfuse(network)
    assert pieces() == []
    assert source.apply_rotary_pos_emb is rotary
    assert answers() == expected


def _compiled_frames():
    return torch._dynamo.utils.counters["frames"]["ok"]
