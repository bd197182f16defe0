"""The first tokens and the latest ones, whatever they hold.

Xiao et al. 2024, "Efficient Streaming Language Models with Attention Sinks" (arXiv:2309.17453),
section 3.2. Positions are not renumbered, as the cache does not stream here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lalm_bench.pruning.contracts import KEYS, Seen
from lalm_bench.pruning.methods.settings import demand_whole


@dataclass(frozen=True)
class Streaming:
    """Sinks are never evicted before others; of the rest the oldest goes first.

    Parameters
    ----------
    sinks : int
        First tokens of the row, be they text or audio.
    """

    sinks: int = 4
    needs: ClassVar[frozenset[str]] = frozenset({KEYS})
    window: ClassVar[int] = 0

    def __post_init__(self) -> None:
        demand_whole("sinks", self.sinks, 0)

    def score(self, seen: Seen) -> Tensor:
        """(key heads, tokens), the same in every head."""
        assert seen.keys is not None  # noqa: S101 - asked for in `needs`
        ages = torch.arange(seen.tokens, dtype=torch.float32, device=seen.keys.device)
        ages[: self.sinks] = torch.inf
        return ages.expand(len(seen.keys), -1)
