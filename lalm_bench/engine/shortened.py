"""Layers that hold less than the whole prompt, while answers are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from lalm_bench.engine.kv import Prefilled
from lalm_bench.engine.layers import FULL, SLIDING, Columns
from lalm_bench.engine.listening import positions


@dataclass
class Shortened:
    """Their columns, with room; a step changes them in place, so that a graph can replay it.

    Parameters
    ----------
    layers : frozenset of int
    index : Tensor
        (1,): where their next token is written.
    mask : Tensor
        (rows, columns) bool, room included.
    places : Tensor, optional
        (rows, columns): places of the tokens in their prompts, which windows are measured in.
    longest, room : int
        Columns read, and free behind them, at the beginning.
    """

    layers: frozenset[int]
    index: Tensor
    mask: Tensor
    places: Tensor | None
    longest: int = 0
    room: int = 0

    @classmethod
    def begin(cls, parts: Sequence[Prefilled], room: Callable[[int], int]) -> Shortened | None:
        """From what was read; None when every layer holds whole prompts.

        Parameters
        ----------
        room : callable
            Longest row -> columns to leave free behind it.
        """
        first = next((part.pruned for part in parts if part.pruned is not None), None)
        if first is None:
            return None
        found = [
            part.pruned or Columns(first.layers, part.mask, positions(part.mask)) for part in parts
        ]
        longest = max(columns.mask.shape[1] for columns in found)
        free = room(longest)

        def roomy(tensors: Sequence[Tensor | None]) -> Tensor:
            return torch.cat(
                [pad(t, (longest - t.shape[1], free)) for t in tensors if t is not None]
            )

        return cls(
            first.layers,
            torch.tensor([longest], device=first.mask.device),
            roomy([columns.mask for columns in found]).bool(),
            None if first.places is None else roomy([columns.places for columns in found]),
            longest,
            free,
        )

    @property
    def read(self) -> int:
        """Columns written; waits for the device."""
        return int(self.index)

    @property
    def left(self) -> int:
        """Steps for which there is room; waits for the device."""
        return self.mask.shape[1] - self.read

    def write(self, position: Tensor, window: int | None) -> dict[str, Tensor]:
        """Note that a token at `position` (rows, 1) is read; masks (rows, 1, 1, columns)."""
        self.mask.index_fill_(1, self.index, True)
        whole = self.mask[:, None, None, :]
        if window is None or self.places is None:
            return {FULL: whole}
        self.places.index_copy_(1, self.index, position)
        near = (self.places > position - window)[:, None, None, :]
        return {FULL: whole, SLIDING: whole & near}

    def resized(self, rows: Tensor | None, room: int) -> Shortened:
        """With the rows asked for (None: all) and `room` more columns."""
        chosen = slice(None) if rows is None else rows
        places = None if self.places is None else pad(self.places[chosen], (0, room))
        return Shortened(self.layers, self.index, pad(self.mask[chosen], (0, room)), places)
