"""A step over pruned layers can be recorded and replayed.

There is no GPU here: a recorder of operations stands in for a CUDA graph. Like a graph, it repeats
the operations of one step on the very tensors that they met, and knows nothing of the Python around
them. What it cannot show is whether CUDA refuses an operation; the test below it does, on a GPU.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lalm_bench.engine.choose import chooser
from lalm_bench.engine.decode import Decoder, _Rows
from lalm_bench.engine.stages import Stages
from lalm_bench.pruning.eviction import Eviction
from lalm_bench.pruning.methods.fastv import FastV
from lalm_bench.pruning.methods.random import Random
from lalm_bench.pruning.methods.snapkv import SnapKV
from lalm_bench.pruning.prefill import PrefillPruning
from lalm_bench.types import Generation, Runtime

STEPS = 6
WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")


class Recorder(TorchDispatchMode):
    """Operations with their tensors, to be repeated in place."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def replay(self):
        for func, args, kwargs, before in self.calls:
            after = func(*args, **kwargs)
            for old, new in zip(tree_leaves(before), tree_leaves(after), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def prunings(family):
    layer = 1 if family == "gemma3n" else 2
    return {
        "entrance": PrefillPruning(name="random", method=Random(), ratio=0.6, layer=0),
        "prefill": PrefillPruning(name="random", method=Random(), ratio=0.6, layer=layer),
        "eviction": Eviction(name="snapkv", method=SnapKV(window=4), ratio=0.6),
    }


@pytest.mark.parametrize("family", ["qwen2_audio", "gemma3n"])
@pytest.mark.parametrize("kind", ["entrance", "prefill", "eviction"])
@torch.inference_mode()
def test_replayed_steps_write_what_steps_write(loaded, clips, ask, family, kind):
    model = loaded(family)
    requests = [
        ask(f"q{i}", "What? " * (i + 1), clips[i], generation=Generation(max_new_tokens=STEPS + 1))
        for i in range(2)
    ]
    items = [model._prepare(request) for request in requests]
    decoder = Decoder(model.network, replace(model.resident.decoder.facts, stops=()))

    def rows():
        with prunings(family)[kind](model):
            read = model.resident.read(items, Stages(torch.device("cpu")))
        choose = chooser([request.generation for request in requests])
        return _Rows.begin([read], choose, choose(read.logits), STEPS + 1, decoder._stops)

    plain, replayed, recorder = rows(), rows(), Recorder()
    with decoder._shortened(plain.shortened):
        for _ in range(STEPS):
            decoder._step(plain)
    with decoder._shortened(replayed.shortened):
        with recorder:
            decoder._step(replayed)
        for _ in range(STEPS - 1):
            recorder.replay()
    assert replayed.out.tolist() == plain.out.tolist()
    assert not [f for f, *_ in recorder.calls if f.__name__.split(".")[0] in WAITS]
    assert torch.equal(replayed.shortened.mask, plain.shortened.mask)
    assert plain.shortened.mask[:, plain.shortened.longest :].sum(1).tolist() == [STEPS, STEPS]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["entrance", "prefill", "eviction"])
def test_graphs_on_cuda_write_what_plain_steps_write(deep, clips, ask, kind):
    from lalm_bench.models.hf import HFModel

    requests = [
        ask(f"q{i}", "What? " * (i + 1), clips[i], generation=Generation(max_new_tokens=40))
        for i in range(4)
    ]
    answers = []
    for graphs in (True, False):
        model = HFModel(name="m", path=str(deep("qwen2_audio")), dtype="float32")
        model.load(Runtime(device="cuda", workers=1, batch_size=4, graphs=graphs, fuse=False))
        with prunings("qwen2_audio")[kind](model):
            answers.append({r.sample_id: r.text for r in model.answer(requests)})
        assert model.report()["graphs_refused"] is None
    assert answers[0] == answers[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_choosing_and_gathering_never_wait_for_cuda(deep, clips, ask, monkeypatch):
    from lalm_bench.models.hf import HFModel
    from lalm_bench.pruning import shortening

    begin = shortening._Shortening._begin

    def guarded(self, hidden):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return begin(self, hidden)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(shortening._Shortening, "_begin", guarded)
    model = HFModel(name="m", path=str(deep("qwen2_audio")), dtype="float32")
    model.load(Runtime(device="cuda", workers=1, batch_size=4, fuse=False))
    requests = [ask(f"q{i}", "What?", clips[i]) for i in range(4)]
    with PrefillPruning(name="fastv", method=FastV(), ratio=0.5, layer=2)(model):
        assert [r.error for r in model.answer(requests)] == [None] * 4
