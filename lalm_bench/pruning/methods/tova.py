"""TOVA: what the last token attends to least is evicted.

Oren et al. 2024, "Transformers are Multi-State RNNs" (arXiv:2401.06104), section 3: the paper
evicts one state at each step of decoding; as in kvpress this is its first step, for many at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lalm_bench.pruning.contracts import KEYS, QUERIES, Seen


@dataclass(frozen=True)
class Tova:
    """Score: attention weight of the last query, mean over all heads; the last token itself stays.

    All key heads of a layer evict the same tokens.
    """

    needs: ClassVar[frozenset[str]] = frozenset({KEYS, QUERIES})
    window: ClassVar[int] = 1

    def score(self, seen: Seen) -> Tensor:
        """(key heads, tokens), the same in every head."""
        assert seen.keys is not None  # noqa: S101 - asked for in `needs`
        scores = seen.attention()[:, -1].mean(0)
        scores[-1:].fill_(torch.inf)
        return scores.expand(len(seen.keys), -1)
