"""Arguments of decoder layers, made to fit hidden states that have lost columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lalm_bench.errors import ModelError

# What every decoder layer calls its arguments.
STATES, MASK, ROTARY, IDS = (
    "hidden_states",
    "attention_mask",
    "position_embeddings",
    "position_ids",
)


class Gathering:
    """Columns `index` (rows, columns) of whatever has a value for each of `width` tokens.

    Parameters
    ----------
    per_token : tuple of str
        Arguments of shape (rows, tokens, ...) beside states, mask and positions.
    """

    def __init__(self, index: Tensor, width: int, per_token: tuple[str, ...]) -> None:
        self._index, self._width, self._per_token = index, width, per_token
        self._rows = torch.arange(len(index), device=index.device)[:, None]
        # By identity of what the layers are given; the tensors are held, so that it stays theirs.
        self._done: dict[int, tuple[Any, Any]] = {}

    def __call__(self, tensor: Tensor) -> Tensor:
        """(..., rows or 1, tokens, size) -> (..., rows, columns, size)."""
        rows = torch.zeros_like(self._rows) if tensor.shape[-3] == 1 else self._rows
        return tensor[..., rows, self._index, :]

    def arguments(self, given: dict[str, Any], mask: Tensor | None) -> dict[str, Any]:
        """A layer's arguments for states that are short already.

        Raises
        ------
        ModelError
            It takes something for each token that `per_token` does not name.
        """
        short = given | {MASK: mask}
        short[ROTARY] = self._once(given.get(ROTARY), self)
        short[IDS] = self._once(given.get(IDS), lambda ids: self(ids[..., None])[..., 0])
        for name, value in given.items():
            if name in (STATES, MASK, ROTARY, IDS) or not isinstance(value, Tensor):
                continue
            if name in self._per_token:
                short[name] = self(value)
            elif value.shape[:2] == (len(self._index), self._width):
                raise ModelError(
                    f"the language model's layers take {name} for each token, and its family does "
                    "not say so: it cannot be pruned"
                )
        return short

    def _once(self, value: Any, shorten: Callable[[Tensor], Tensor]) -> Any:
        """`shorten` of a tensor, or of each in a tuple; layers that get the same share it."""
        if value is None:
            return None
        if id(value) not in self._done:
            one = isinstance(value, Tensor)
            short = shorten(value) if one else type(value)(shorten(tensor) for tensor in value)
            self._done[id(value)] = (value, short)
        return self._done[id(value)][1]
