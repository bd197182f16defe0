"""Attention weights of a few queries of one prompt, without ever holding tokens x tokens."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Weights held at a time, over all heads.
AT_ONCE = 1 << 24
HEADS = MEAN, GROUPS, ALL = ("mean", "groups", "all")


def attend(
    queries: Tensor, keys: Tensor, asking: Tensor, scaling: float, reach: int | None = None
) -> Tensor:
    """Causal softmax attention (heads, asking, tokens), float32; rows sum to 1.

    Parameters
    ----------
    queries : Tensor
        (heads, tokens, head size) after rotation; query heads of one key head stand together.
    keys : Tensor
        (key heads, tokens, head size) after rotation.
    asking : Tensor
        (asking,) positions of the queries that are wanted.
    scaling : float
        Factor of query times key.
    reach : int, optional
        A query sees this many tokens back, itself included; None for all.

    Examples
    --------
    >>> same = torch.ones(1, 3, 2)
    >>> attend(same, same, torch.tensor([1, 2]), 1.0, reach=2)
    tensor([[[0.5000, 0.5000, 0.0000],
             [0.0000, 0.5000, 0.5000]]])
    """
    heads, tokens, size = queries.shape
    chosen = queries[:, asking].float().reshape(len(keys), -1, size)
    logits = (chosen @ keys.float().transpose(1, 2)) * scaling
    places = torch.arange(tokens, device=logits.device)
    hidden = places > asking[:, None]
    if reach is not None:
        hidden = hidden | (places <= asking[:, None] - reach)
    logits = logits.reshape(heads, len(asking), tokens)
    return logits.masked_fill_(hidden, -torch.inf).softmax(-1)


def grouped(weights: Tensor, key_heads: int, heads: str) -> Tensor:
    """Mean (groups, asking, tokens) over the heads of each group; see `group_count`."""
    count = group_count(len(weights), key_heads, heads)
    return weights.reshape(count, -1, *weights.shape[1:]).mean(1)


def group_count(query_heads: int, key_heads: int, heads: str) -> int:
    """Groups of a layer under one of `HEADS`."""
    return {MEAN: 1, GROUPS: key_heads, ALL: query_heads}[heads]


def pieces(asking: Tensor, heads: int, tokens: int) -> Iterator[Tensor]:
    """`asking` in pieces whose weights hold `AT_ONCE` numbers at most (one query may exceed it)."""
    if len(asking):
        yield from torch.split(asking, max(1, AT_ONCE // (heads * tokens)))
