"""Audio tokens at equal distances: thinning in time, whatever is heard."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lalm_bench.pruning.contracts import Seen
from lalm_bench.pruning.methods.choosing import Choosing


def evenly(tokens: int, keep: int, device: torch.device) -> Tensor:
    """Positions floor(i * tokens / keep) for i < keep: (keep,), int64, ascending."""
    return torch.arange(keep, device=device) * tokens // keep


@dataclass(frozen=True)
class Frame(Choosing):
    """Uniform decimation; the first token is always kept."""

    def select(self, seen: Seen, audio: Tensor, keep: int) -> Tensor:
        """Token floor(i * n / keep) for each i < keep."""
        return evenly(len(audio), keep, audio.device)
