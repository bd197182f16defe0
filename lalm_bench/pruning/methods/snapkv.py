"""SnapKV: keep what the end of the prompt attends to, in clusters.

Li et al. 2024, "SnapKV: LLM Knows What You are Looking for Before Generation" (arXiv:2404.14469),
section 4: votes of an observation window, pooled. As in kvpress the pooling is an average (the
paper's code takes a maximum), and the heads that share keys vote together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from lalm_bench.errors import ConfigError
from lalm_bench.pruning.contracts import KEYS, QUERIES, Seen
from lalm_bench.pruning.methods.settings import demand_whole


@dataclass(frozen=True)
class SnapKV:
    """Score: attention weight from the window's queries, averaged over them, neighbours and heads.

    Parameters
    ----------
    window : int
        Last tokens of the prompt. They are evicted after all others, the earliest first; kvpress
        gives them all the best score and leaves their order open.
    kernel : int
        Width of the average over neighbouring tokens, odd. Beyond both ends of what is scored it
        averages zeros.
    """

    window: int = 64
    kernel: int = 5
    needs: ClassVar[frozenset[str]] = frozenset({KEYS, QUERIES})

    def __post_init__(self) -> None:
        demand_whole("window", self.window, 1)
        demand_whole("kernel", self.kernel, 1)
        if self.kernel % 2 == 0:
            raise ConfigError(f"pruning.method.kernel={self.kernel!r} must be odd")

    def score(self, seen: Seen) -> Tensor:
        """(key heads, tokens): 0 to 1, above 1 in the window."""
        assert seen.keys is not None  # noqa: S101 - asked for in `needs`
        groups = len(seen.keys)
        weights = seen.attention()
        window = weights.shape[1]
        recency = 2 + torch.arange(window, dtype=weights.dtype, device=weights.device)
        recency = recency.expand(groups, -1)
        if window == seen.tokens:
            return recency
        votes = weights[..., :-window].mean(1).view(groups, -1, seen.tokens - window).mean(1)
        pooled = avg_pool1d(votes, self.kernel, stride=1, padding=self.kernel // 2)
        return torch.cat([pooled, recency], dim=1)
