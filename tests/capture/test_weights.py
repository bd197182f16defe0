"""Attention of chosen queries, piece by piece."""

from __future__ import annotations

import pytest
import torch

from lalm_bench.capture import weights
from lalm_bench.capture.weights import attend, grouped, pieces


def drawn(heads=4, keys=2, tokens=17, size=8):
    generator = torch.Generator().manual_seed(5)
    shape = (tokens, size)
    return (
        torch.randn(heads, *shape, generator=generator),
        torch.randn(keys, *shape, generator=generator),
    )


@pytest.mark.parametrize("reach", [None, 1, 5, 40])
def test_it_is_what_torch_attends_to(reach):
    queries, keys = drawn()
    tokens = queries.shape[1]
    order = torch.arange(tokens)
    seen = order <= order[:, None]
    if reach is not None:
        seen = seen & (order > order[:, None] - reach)
    expected = torch.nn.functional.scaled_dot_product_attention(
        queries, keys.repeat_interleave(2, 0), torch.eye(tokens).expand(4, -1, -1), seen, scale=0.3
    )
    asking = torch.tensor([0, 3, 16])
    found = attend(queries, keys, asking, 0.3, reach)
    torch.testing.assert_close(found, expected[:, asking])
    torch.testing.assert_close(found.sum(-1), torch.ones(4, 3))


def test_groups_are_the_heads_that_share_a_key():
    found = attend(*drawn(), torch.tensor([16]), 0.3)
    torch.testing.assert_close(grouped(found, 2, "groups")[1], found[2:].mean(0))
    torch.testing.assert_close(grouped(found, 2, "mean")[0], found.mean(0))
    assert torch.equal(grouped(found, 2, "all"), found)


def test_no_piece_is_larger_than_said_and_none_is_lost(monkeypatch):
    monkeypatch.setattr(weights, "AT_ONCE", 4 * 17 * 3 + 5)
    asking = torch.arange(17)
    parts = list(pieces(asking, 4, 17))
    assert [len(p) for p in parts] == [3, 3, 3, 3, 3, 2]
    assert torch.equal(torch.cat(parts), asking)
    monkeypatch.setattr(weights, "AT_ONCE", 1)
    assert [len(p) for p in pieces(asking, 4, 17)] == [1] * 17
    assert list(pieces(asking[:0], 4, 17)) == []
