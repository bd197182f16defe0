"""FastV: keep the audio tokens that the prompt's last token attends to.

Chen et al. 2024, "An Image is Worth 1/2 Tokens After Layer 2" (arXiv:2403.06764), section 4. The
text there scores a token by the attention that it gets from all others; the authors' code, and
every port of it, takes the last query alone. So does this, in O(tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lalm_bench.pruning.contracts import KEYS, QUERIES, Seen, kept_floor, matched
from lalm_bench.pruning.methods.choosing import Choosing
from lalm_bench.pruning.methods.ranking import highest


@dataclass(frozen=True)
class FastV(Choosing):
    """Score of token j: mean over heads of softmax(scaling * q_last k')_j, in layer K - 1.

    The softmax runs over the whole row, text included.

    Parameters
    ----------
    may_keep_none : bool
        Keep int(n (1 - ratio)) as published under the rule `floor`, be it 0; else at least 1.
    """

    may_keep_none: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({KEYS, QUERIES})
    window: ClassVar[int] = 1
    first_layer: ClassVar[int] = 1

    def count(self, tokens: int, ratio: float, rule: str) -> int:
        """int(tokens (1 - ratio)), and at least 1 unless `may_keep_none`."""
        if self.may_keep_none and rule == "floor":
            return kept_floor(tokens, ratio)
        return matched(tokens, ratio)

    def select(self, seen: Seen, audio: Tensor, keep: int) -> Tensor:
        """The `keep` best attended; of equals the earlier."""
        scores = seen.attention()[:, -1].mean(0)
        return highest(scores[audio], keep)
