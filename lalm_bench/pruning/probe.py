"""Queries as attention gets them: after norms and rotation, whatever the architecture.

The implementation that is registered as `sdpa` stays in use; one in front of it notes the queries
of the layers asked for. Nothing of the size tokens x tokens is ever made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lalm_bench.engine.layers import Stack
from lalm_bench.errors import ModelError

# The one whose masks the engine makes.
IMPLEMENTATION = "sdpa"


@dataclass
class Probe:
    """What was asked in the layers of one forward pass.

    Parameters
    ----------
    windows : mapping
        Layer -> how many last queries are wanted; 0 for all.
    """

    windows: Mapping[int, int]
    _queries: dict[int, Tensor] = field(default_factory=dict, init=False)
    _scaling: dict[int, float] = field(default_factory=dict, init=False)

    def take(self, layer: int) -> tuple[Tensor, float]:
        """Queries (rows, heads, window, head size) of a layer that has run, and their factor.

        Raises
        ------
        ModelError
            The layer attends in some other way.
        """
        if layer not in self._queries:
            raise ModelError(f"layer {layer} does not attend through {IMPLEMENTATION}")
        return self._queries.pop(layer), self._scaling.pop(layer)

    @contextlib.contextmanager
    def watching(self, stack: Stack) -> Iterator[Probe]:
        """Inside, forward passes are noted; afterwards attention is what it was."""
        wanted = {stack.layers[number].self_attn: number for number in self.windows}
        if not wanted:
            yield self
            return
        overridden = ALL_ATTENTION_FUNCTIONS._local_mapping.get(IMPLEMENTATION)
        attend = ALL_ATTENTION_FUNCTIONS[IMPLEMENTATION]

        def noting(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any
        ) -> Any:
            number = wanted.get(module)
            if number is not None:
                self._note(number, query, options.get("scaling"))
            return attend(module, query, key, value, mask, **options)

        ALL_ATTENTION_FUNCTIONS[IMPLEMENTATION] = noting
        try:
            yield self
        finally:
            ALL_ATTENTION_FUNCTIONS.pop(IMPLEMENTATION)
            if overridden is not None:
                ALL_ATTENTION_FUNCTIONS[IMPLEMENTATION] = overridden
            self._queries.clear()

    def _note(self, number: int, query: Tensor, scaling: float | None) -> None:
        window = self.windows[number]
        # A copy of the few, so that the many can go.
        self._queries[number] = query[:, :, -window:].clone() if window else query
        self._scaling[number] = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
