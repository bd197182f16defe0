"""A uniform draw: what a method is worth is what it is better than this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lalm_bench.pruning.contracts import Seen
from lalm_bench.pruning.methods.choosing import Choosing


@dataclass(frozen=True)
class Random(Choosing):
    """Audio tokens drawn without replacement.

    Draws are nested: what an item keeps at one ratio, it keeps at every lower one.
    """

    def select(self, seen: Seen, audio: Tensor, keep: int) -> Tensor:
        """The first `keep` of a permutation that `seen.seed` determines; drawn on the host."""
        order = np.random.default_rng(seen.seed).permutation(len(audio))
        return torch.from_numpy(np.sort(order[:keep]))
