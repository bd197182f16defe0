"""Keys and values of many rows, in place: one buffer a layer, written where `Step.index` points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer

from lalm_bench.engine.layers import Columns

if TYPE_CHECKING:
    from lalm_bench.engine.shortened import Shortened


@dataclass
class Prefilled:
    """Rows whose prompts the network has read.

    Parameters
    ----------
    cache : Cache
        Keys and values of shape (rows, heads, tokens, head size) in each layer.
    mask : Tensor
        (rows, tokens), 1 where a token counts.
    logits : Tensor
        (rows, vocabulary) after the last token.
    pruned : Columns, optional
        Layers that hold less than the prompt, and what they hold; all others go by `mask`, and so
        do the positions of what follows.
    """

    cache: Any
    mask: Tensor
    logits: Tensor
    pruned: Columns | None = None

    def rows(self, indices: Tensor) -> Prefilled:
        """A copy that holds the rows `indices`, which may repeat."""
        cache = growing()
        for number, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[indices], layer.values[indices], number)
        pruned = None if self.pruned is None else self.pruned.rows(indices)
        return Prefilled(cache, self.mask[indices], self.logits[indices], pruned)

    def bytes_per_token(self) -> tuple[int, int]:
        """Bytes that the keys and values of one token take: in whole layers, in pruned ones."""
        sizes = [0, 0]
        for number, layer in enumerate(self.cache.layers):
            pruned = self.pruned is not None and number in self.pruned.layers
            for tensor in (layer.keys, layer.values):
                sizes[pruned] += tensor.shape[1] * tensor.shape[3] * tensor.element_size()
        return sizes[0], sizes[1]


class Kept(DynamicLayer):  # type: ignore[no-untyped-call]
    """A growing layer that keeps its first keys and values as they come, without a copy."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens so far."""
        if self.is_initialized:
            return super().update(key_states, value_states, *args, **kwargs)
        self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        return key_states, value_states


def growing() -> Cache:
    """An empty cache for prompts."""
    return Cache(layer_class_to_replicate=Kept)


class Slab(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values with room to write; every step writes one token in every row.

    A cache that grows by concatenation copies itself at each step, and its shapes change, which
    forbids replaying a step as a CUDA graph.
    """

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, index: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.index = keys, values, index
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the buffers come with the object."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one token a row; returns the whole buffers, the mask hides what is not written."""
        self.keys.index_copy_(2, self.index, key_states)
        self.values.index_copy_(2, self.index, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what attention sees."""
        return self.get_seq_length(), 0

    def get_seq_length(self) -> int:
        """Length of the buffer."""
        return int(self.keys.shape[2])

    def get_max_length(self) -> int:
        """Length of the buffer."""
        return self.get_seq_length()

    def resized(self, rows: Tensor | None, room: int) -> Slab:
        """A new slab with the rows asked for (None: all) and `room` more tokens.

        This one lets go of its own, so that a cache never exists twice.
        """
        keys, values = self.keys, self.values
        self.keys = self.values = keys.new_empty(0)
        if rows is not None:
            keys, values = keys[rows], values[rows]
        return Slab(_roomy(keys, room), _roomy(values, room), self.index)


def joined(
    parts: Sequence[Prefilled], room: int, index: Tensor, shortened: Shortened | None = None
) -> tuple[Cache, Tensor]:
    """One cache of slabs and its mask from parts of different lengths, aligned on the right.

    Parameters
    ----------
    parts : sequence of Prefilled
        Emptied on the way, so that keys and values exist twice for one layer at a time only.
    room : int
        Tokens that may still be written.
    index : Tensor
        (1,), shared by all layers: where the next token is written.
    shortened : Shortened, optional
        Layers that have a length, room and index of their own.
    """
    longest = max(part.mask.shape[1] for part in parts)
    layers = []
    for number in range(len(parts[0].cache.layers)):
        pairs = [(p.cache.layers[number].keys, p.cache.layers[number].values) for p in parts]
        size, free, here = longest, room, index
        if shortened is not None and number in shortened.layers:
            size, free, here = shortened.longest, shortened.room, shortened.index
        keys, values = (_aligned([pair[i] for pair in pairs], size, free) for i in (0, 1))
        layers.append(Slab(keys, values, here))
        for part in parts:
            part.cache.layers[number].keys = part.cache.layers[number].values = None
    mask = torch.cat(
        [torch.nn.functional.pad(p.mask, (longest - p.mask.shape[1], room)) for p in parts]
    )
    return Cache(layers=list(layers)), mask


def _aligned(tensors: Sequence[Tensor], longest: int, room: int) -> Tensor:
    rows = sum(len(t) for t in tensors)
    first = tensors[0]
    whole = first.new_empty(rows, first.shape[1], longest + room, first.shape[3])
    # What no token has written must be finite: the mask multiplies it by 0.
    whole[:, :, longest:] = 0
    row = 0
    for tensor in tensors:
        begin = longest - tensor.shape[2]
        whole[row : row + len(tensor), :, :begin] = 0
        whole[row : row + len(tensor), :, begin:longest] = tensor
        row += len(tensor)
    return whole


def _roomy(tensor: Tensor, room: int) -> Tensor:
    return torch.nn.functional.pad(tensor, (0, 0, 0, room)) if room else tensor
