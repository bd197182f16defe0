"""No method waits for the device: not a shape or a branch depends on what tensors hold."""

from dataclasses import fields, replace

import pytest
import torch

from lalm_bench.pruning.methods.dart import Dart
from lalm_bench.pruning.methods.expected_attention import ExpectedAttention
from lalm_bench.pruning.methods.fastv import FastV
from lalm_bench.pruning.methods.frame import Frame
from lalm_bench.pruning.methods.keydiff import KeyDiff
from lalm_bench.pruning.methods.knorm import Knorm
from lalm_bench.pruning.methods.merge import Merge
from lalm_bench.pruning.methods.pooling import Pooling
from lalm_bench.pruning.methods.random import Random
from lalm_bench.pruning.methods.snapkv import SnapKV
from lalm_bench.pruning.methods.streaming import Streaming
from lalm_bench.pruning.methods.tova import Tova
from tests.pruning.methods.rows import row

METHODS = (Random(), Frame(), FastV(), Dart(), Pooling(), Merge())
SCORERS = (Knorm(), KeyDiff(), Streaming(), Tova(), SnapKV(8), ExpectedAttention(8))


def asked_for(method, device, dtype=torch.float32):
    """What the method sees of a row: no more than it needs, on the device."""
    drawn = row([(3, 30), (2, 21), (6, 0)], window=method.window)
    names = [
        f.name for f in fields(drawn.seen) if isinstance(getattr(drawn.seen, f.name), torch.Tensor)
    ]
    given = {
        name: getattr(drawn.seen, name).to(device, dtype) if name in method.needs else None
        for name in names
    }
    rotary = tuple(t.to(device, dtype) for t in drawn.seen.rotary)
    return replace(drawn.seen, device=device, rotary=rotary, **given), drawn.audio.to(device)


def answers(method, seen, audio):
    """Everything that the method gives."""
    if method in SCORERS:
        return [method.score(seen)]
    merged = method.replace(seen, audio, 23) if hasattr(method, "replace") else ()
    return [method.select(seen, audio, 23), *merged]


@pytest.mark.parametrize("method", [*METHODS, *SCORERS], ids=lambda m: type(m).__name__)
def test_values_are_never_looked_at(method):
    # Tensors without values: whoever looks at one fails, and so does a shape that depends on them.
    shapes = [answer.shape for answer in answers(method, *asked_for(method, "cpu"))]
    assert [answer.shape for answer in answers(method, *asked_for(method, "meta"))] == shapes


def test_the_published_order_of_pivots_does_wait():
    waiting = Dart(pivot_order="set")
    with pytest.raises((RuntimeError, NotImplementedError)):
        answers(waiting, *asked_for(waiting, "meta"))


@pytest.mark.parametrize("method", [*METHODS, *SCORERS], ids=lambda m: type(m).__name__)
def test_half_precision_is_scored_in_float32(method):
    for answer in answers(method, *asked_for(method, "cpu", torch.bfloat16)):
        if method in SCORERS:
            assert answer.dtype == torch.float32
        assert not answer.isnan().any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", [*METHODS, *SCORERS], ids=lambda m: type(m).__name__)
def test_nothing_waits_on_cuda_and_the_answer_is_that_of_the_cpu(method):
    seen, audio = asked_for(method, "cuda")
    expected = answers(method, *asked_for(method, "cpu"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = answers(method, seen, audio)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for answer, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(answer.cpu(), wanted, atol=1e-5, rtol=1e-4)
