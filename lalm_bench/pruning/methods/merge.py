"""Merge neighbouring audio embeddings that are alike, in front of the language model.

After Li, Wu and Liu 2023, "Accelerating Transducers through Adjacent Token Merging"
(arXiv:2306.16009), who merge alike neighbours inside the encoder, layer by layer, wherever the
cosine of their attention keys is above a threshold. Here it is one step over the encoder's output,
with the cosine of the embeddings, and the threshold is the one that leaves the count asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lalm_bench.pruning.contracts import HIDDEN, Seen
from lalm_bench.pruning.methods.choosing import Choosing
from lalm_bench.pruning.methods.ranking import lowest
from lalm_bench.pruning.methods.segments import means


@dataclass(frozen=True)
class Merge(Choosing):
    """The sequence is cut where neighbours are least alike; each piece becomes its mean.

    A piece stands at the position of its first token. Several clips are one sequence, as in
    `Pooling`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({HIDDEN})
    last_layer: ClassVar[int | None] = 0

    def select(self, seen: Seen, audio: Tensor, keep: int) -> Tensor:
        """First tokens of the pieces."""
        assert seen.hidden is not None  # noqa: S101 - asked for in `needs`
        return self._starts(seen.hidden[audio], keep)

    def replace(self, seen: Seen, audio: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """First tokens of the pieces and the means."""
        assert seen.hidden is not None  # noqa: S101 - asked for in `needs`
        values = seen.hidden[audio]
        starts = self._starts(values, keep)
        return starts, means(values, starts)

    def _starts(self, values: Tensor, keep: int) -> Tensor:
        vectors = normalize(values.float(), dim=-1)
        alike = (vectors[1:] * vectors[:-1]).sum(-1)
        cuts = lowest(alike, keep - 1).sort().values + 1
        return torch.cat([cuts.new_zeros(1), cuts])
