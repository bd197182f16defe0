"""Orders without a word to the host: equal scores stay in the order of their positions."""

from __future__ import annotations

from torch import Tensor


def highest(scores: Tensor, keep: int) -> Tensor:
    """Positions of the `keep` highest scores of the last dimension, ascending.

    Parameters
    ----------
    scores : Tensor
        (..., n). Of equal scores the earlier ones are taken: `topk` promises no order.
    keep : int
        0 to n.

    Returns
    -------
    Tensor
        (..., keep), int64.
    """
    order = scores.argsort(dim=-1, descending=True, stable=True)
    return order[..., :keep].sort(dim=-1).values


def lowest(scores: Tensor, count: int) -> Tensor:
    """Positions of the `count` lowest of `scores` (n,), the lowest first; ties as in `highest`."""
    return scores.argsort(stable=True)[:count]
