"""Means of stretches of consecutive tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def means(values: Tensor, starts: Tensor) -> Tensor:
    """Mean of each stretch of tokens.

    Parameters
    ----------
    values : Tensor
        (n, size).
    starts : Tensor
        (stretches,), int64, strictly ascending, the first 0: where stretches begin; each reaches
        to the next, the last to n.

    Returns
    -------
    Tensor
        (stretches, size), of the type of `values`, added up in float32 and always in one order.
    """
    lengths = starts.diff(append=starts.new_full((1,), len(values)))
    # `unsafe` leaves out a check of the lengths that would wait for the device.
    pooled = torch.segment_reduce(values.float(), "mean", lengths=lengths, unsafe=True)
    return pooled.to(values.dtype)
