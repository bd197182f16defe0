"""Prefill pruning: from layer K on, the network reads only part of the audio.

Layers before K, and the positions of all tokens, are those of the whole prompt. K = 0 prunes what
enters the language model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from lalm_bench.errors import ConfigError
from lalm_bench.pruning.contracts import COUNTS, KEYS, QUERIES, VALUES, Method
from lalm_bench.pruning.fitting import demand_prunable, demand_ratio, loaded, pruned_by
from lalm_bench.types import Model


@dataclass(frozen=True, kw_only=True)
class PrefillPruning:
    """Drops audio tokens while a prompt is read.

    Parameters
    ----------
    name : str
        Folder and tracking name.
    method : Method
        Which tokens stay.
    ratio : float
        Fraction of an item's audio tokens that is dropped, 0 <= ratio < 1; 0 changes nothing.
    layer : int
        K, the first decoder layer that reads the shortened prompt.
    count : str
        floor (the method's published count) or match (the same for every method).
    seed : int
        Of methods that draw.
    """

    name: str
    method: Method
    ratio: float = 0.5
    layer: int = 2
    count: str = COUNTS[0]
    seed: int = 0
    kind: ClassVar[str] = "prefill"

    def __post_init__(self) -> None:
        demand_ratio(self.name, self.ratio)
        if self.count not in COUNTS:
            raise ConfigError(f"pruning.count={self.count} must be one of {', '.join(COUNTS)}")
        first, last = self.method.first_layer, self.method.last_layer
        if self.method.needs & {KEYS, VALUES, QUERIES}:
            first = max(first, 1)  # of the layer before
        if self.layer < max(first, 0):
            raise ConfigError(
                f"pruning.layer={self.layer}: {self.name} prunes from layer {first} on at the "
                "earliest; set it so"
            )
        if last is not None and self.layer > last:
            raise ConfigError(
                f"pruning.layer={self.layer}: {self.name} prunes before layer {last} or not at "
                f"all; set pruning.layer={last}"
            )

    def check(self, model: Model) -> None:
        """ConfigError where `model` cannot be pruned so; needs no weights."""
        facts = demand_prunable(self.name, model)
        if self.ratio and facts.layers is not None and self.layer >= facts.layers:
            raise ConfigError(
                f"pruning.layer={self.layer}: {model.name} has {facts.layers} layers, 0 to "
                f"{facts.layers - 1}; choose one of them"
            )
        if self.ratio and facts.shared_from is not None and self.layer > facts.shared_from:
            raise ConfigError(
                f"pruning.layer={self.layer}: later layers of {model.name} use the keys and values "
                f"of layer {facts.shared_from} in place of their own; prune from layer "
                f"{facts.shared_from} or before"
            )

    @contextmanager
    def __call__(self, model: Model) -> Iterator[None]:
        """`with pruning(model): ...`; a loaded model answers pruned inside."""
        self.check(model)
        if not self.ratio:
            yield
            return
        from lalm_bench.engine.layers import Stack
        from lalm_bench.pruning.shortening import Shortener

        network, settings = loaded(model)
        with pruned_by(model, Shortener(self, Stack(network), settings.per_token)):
            yield
