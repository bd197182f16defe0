"""Reads the attention of prompts while they are read, and changes nothing about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lalm_bench.capture.tokens import AUDIO, KINDS, TEXT, kinds_of
from lalm_bench.capture.weights import attend, group_count, grouped, pieces
from lalm_bench.engine.layers import SLIDING, Stack
from lalm_bench.engine.prefill import Passing, Row
from lalm_bench.errors import ModelError
from lalm_bench.pruning.probe import Probe


@dataclass(frozen=True)
class Attended:
    """What one prompt's queries attend to; layers with fewer groups than others end in NaN.

    Parameters
    ----------
    ids : numpy.ndarray
        (tokens,) token ids.
    kinds : numpy.ndarray
        (tokens,) indices into `tokens.KINDS`.
    queries : numpy.ndarray
        (queries,) positions of the text tokens behind the first audio token.
    last : numpy.ndarray
        (layers, groups, tokens) of the last token; rows sum to 1.
    text : numpy.ndarray
        (layers, groups, tokens), mean over `queries`; NaN where there are none.
    shares : numpy.ndarray
        (layers, groups, queries, kinds); rows sum to 1.
    full : numpy.ndarray, optional
        (layers, groups, tokens, tokens).
    """

    ids: np.ndarray
    kinds: np.ndarray
    queries: np.ndarray
    last: np.ndarray
    text: np.ndarray
    shares: np.ndarray
    full: np.ndarray | None


class Observer:
    """An `engine.prefill.Pruner` that prunes nothing: prompts are read whole.

    Parameters
    ----------
    layers : sequence of int
        Those that are wanted, in order.
    heads : str
        One of `weights.HEADS`.
    special : frozenset of int
        Ids of the tokenizer's control tokens.
    full_bytes : int, optional
        Most bytes that the attention of all tokens may take for one prompt; None leaves it out.
    keep : callable
        Takes a row's name and what was seen of it, once it has been read.
    """

    def __init__(
        self,
        stack: Stack,
        layers: Sequence[int],
        heads: str,
        special: frozenset[int],
        full_bytes: int | None,
        keep: Callable[[str, Attended], None],
    ) -> None:
        self._stack, self._layers, self._heads = stack, sorted(layers), heads
        self._special, self._full_bytes, self._keep = special, full_bytes, keep

    @contextmanager
    def pruning(
        self, rows: Sequence[Row], audio: Sequence[Tensor], cache: Any
    ) -> Iterator[Passing]:
        """One forward pass over `rows`; each is kept when it is over."""
        width = max(map(len, rows))
        seen = [self._begin(row, columns) for row, columns in zip(rows, audio, strict=True)]
        probe = Probe(dict.fromkeys(self._layers, 0))
        hooks = []

        def after(number: int) -> Any:
            def read(layer: nn.Module, args: Any, output: Any) -> None:
                queries, scaling = probe.take(number)
                keys = cache.layers[self._source(number)].keys
                slides = self._stack.kinds[number] == SLIDING
                reach = self._stack.window if slides else None
                for row, reading in enumerate(seen):
                    begin = width - reading.tokens
                    own = (queries[row, :, begin:], keys[row, :, begin:])
                    reading.layer(*own, scaling, reach, self._heads)

            return read

        try:
            with probe.watching(self._stack):
                for number in self._layers:
                    layer = self._stack.layers[number]
                    hooks.append(layer.register_forward_hook(after(number)))
                yield Passing()
        finally:
            for hook in hooks:
                hook.remove()
        for row, reading in zip(rows, seen, strict=True):
            self._keep(row.name, reading.attended())

    def _begin(self, row: Row, audio: Tensor) -> _Reading:
        ids = row.tokens["input_ids"][0].cpu()
        kinds = kinds_of(ids, audio, self._special)
        return _Reading(ids, kinds, len(self._layers), self._full_bytes)

    def _source(self, number: int) -> int:
        """The layer whose keys a layer attends to."""
        if self._stack.caches(number):
            return number
        kinds = self._stack.kinds
        return max(i for i in self._stack.sources if kinds[i] == kinds[number])


class _Reading:
    """One row, layer by layer."""

    def __init__(self, ids: Tensor, kinds: Tensor, layers: int, full_bytes: int | None) -> None:
        self.tokens = len(ids)
        self._ids, self._kinds = ids, kinds
        self._layers, self._full_bytes = layers, full_bytes
        behind = torch.arange(len(ids)) > int((kinds == AUDIO).nonzero()[0])
        self._queries = ((kinds == TEXT) & behind).nonzero()[:, 0]
        self._last: list[Tensor] = []
        self._text: list[Tensor] = []
        self._shares: list[Tensor] = []
        self._full: list[Tensor] = []

    def layer(
        self, queries: Tensor, keys: Tensor, scaling: float, reach: int | None, heads: str
    ) -> None:
        """Note the next layer: queries (heads, tokens, size), keys (key heads, tokens, size).

        Raises
        ------
        ModelError
            The attention of all tokens would take more than it may.
        """
        device, count = queries.device, len(queries)
        groups = group_count(count, len(keys), heads)
        self._demand_room(groups)

        def weights(asking: Tensor) -> Tensor:
            found = attend(queries, keys, asking.to(device), scaling, reach)
            return grouped(found, len(keys), heads)

        self._last.append(weights(torch.tensor([self.tokens - 1]))[:, 0].cpu())
        kinds = nn.functional.one_hot(self._kinds, len(KINDS)).float().to(device)
        total = torch.zeros(groups, self.tokens, device=device)
        shares = [torch.zeros(groups, 0, len(KINDS), device=device)]
        for asking in pieces(self._queries, count, self.tokens):
            found = weights(asking)
            shares.append(found @ kinds)
            total += found.sum(1)
        self._shares.append(torch.cat(shares, 1).cpu())
        # Over no queries at all the mean is NaN.
        self._text.append((total / len(self._queries)).cpu())
        if self._full_bytes is not None:
            everything = pieces(torch.arange(self.tokens), count, self.tokens)
            self._full.append(torch.cat([weights(asking).cpu() for asking in everything], 1))

    def _demand_room(self, groups: int) -> None:
        if self._full_bytes is None:
            return
        held = sum(map(len, self._full)) + groups * (self._layers - len(self._full))
        if (size := 4 * held * self.tokens**2) > self._full_bytes:
            raise ModelError(
                f"the attention of all {self.tokens} tokens takes {size / 1e6:,.0f} MB in "
                f"{self._layers} layers, more than capture.full_mb={self._full_bytes / 1e6:g}; "
                "raise it, set capture.full=false, or ask for fewer layers (capture.layers) or "
                "groups (capture.heads=mean)"
            )

    def attended(self) -> Attended:
        """All layers."""
        return Attended(
            self._ids.numpy(),
            self._kinds.numpy(),
            self._queries.numpy(),
            _stacked(self._last),
            _stacked(self._text),
            _stacked(self._shares),
            _stacked(self._full) if self._full else None,
        )


def _stacked(layers: Sequence[Tensor]) -> np.ndarray:
    """(layers, groups, ...): layers with fewer groups end in NaN."""
    most = max(map(len, layers))
    behind = [0, 0] * (layers[0].dim() - 1)
    pads = [[*behind, 0, most - len(tensor)] for tensor in layers]
    filled = [
        nn.functional.pad(tensor, pad, value=torch.nan)
        for tensor, pad in zip(layers, pads, strict=True)
    ]
    return torch.stack(filled).numpy()
