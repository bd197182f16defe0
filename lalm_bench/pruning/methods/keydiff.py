"""Keys unlike the others are kept.

Park et al. 2025, "KeyDiff: Key Similarity-Based KV Cache Eviction for Long-Context LLM Inference in
Resource-Constrained Environments" (arXiv:2504.15364).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from lalm_bench.pruning.contracts import KEYS, Seen


@dataclass(frozen=True)
class KeyDiff:
    """Score: -cos(k, a), where the anchor a is the mean of all keys of the head, each normalised.

    Audio and text keys alike make the anchor.
    """

    needs: ClassVar[frozenset[str]] = frozenset({KEYS})
    window: ClassVar[int] = 0

    def score(self, seen: Seen) -> Tensor:
        """(key heads, tokens), -1 to 1."""
        assert seen.keys is not None  # noqa: S101 - asked for in `needs`
        keys = seen.keys.float()
        anchor = normalize(keys, dim=-1).mean(1, keepdim=True)
        return -cosine_similarity(keys, anchor, dim=-1)
