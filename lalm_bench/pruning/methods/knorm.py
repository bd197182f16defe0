"""Keys of small norm get much attention.

Devoto et al. 2024, "A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression"
(arXiv:2406.11430).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.linalg import vector_norm

from lalm_bench.pruning.contracts import KEYS, Seen


@dataclass(frozen=True)
class Knorm:
    """Score: -|k|, the Euclidean norm."""

    needs: ClassVar[frozenset[str]] = frozenset({KEYS})
    window: ClassVar[int] = 0

    def score(self, seen: Seen) -> Tensor:
        """(key heads, tokens)."""
        assert seen.keys is not None  # noqa: S101 - asked for in `needs`
        norms: Tensor = vector_norm(seen.keys.float(), dim=-1)
        return -norms
