"""Average pooling of audio embeddings in front of the language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lalm_bench.pruning.contracts import HIDDEN, Seen
from lalm_bench.pruning.methods.choosing import Choosing
from lalm_bench.pruning.methods.frame import evenly
from lalm_bench.pruning.methods.segments import means


@dataclass(frozen=True)
class Pooling(Choosing):
    """Stretches of nearly equal length, each replaced by its mean, at its first token's position.

    It keeps the positions that `frame` keeps, so that the two differ in the values alone. All audio
    is one sequence: where several clips follow one another, a stretch may reach from one into the
    next.
    """

    needs: ClassVar[frozenset[str]] = frozenset({HIDDEN})
    last_layer: ClassVar[int | None] = 0

    def select(self, seen: Seen, audio: Tensor, keep: int) -> Tensor:
        """First tokens of the stretches."""
        return evenly(len(audio), keep, audio.device)

    def replace(self, seen: Seen, audio: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """First tokens of the stretches and the means."""
        assert seen.hidden is not None  # noqa: S101 - asked for in `needs`
        starts = self.select(seen, audio, keep)
        return starts, means(seen.hidden[audio], starts)
