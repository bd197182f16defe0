"""Eviction of keys and values once a layer has read the prompt.

The prefill stays whole, so that nothing is saved there; answers are written over a smaller cache.
Layers that see through a window keep everything: the window bounds what they hold already.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from lalm_bench.errors import ConfigError
from lalm_bench.pruning.contracts import SCOPES, Scorer
from lalm_bench.pruning.fitting import demand_prunable, demand_ratio, loaded, pruned_by
from lalm_bench.types import Model


@dataclass(frozen=True, kw_only=True)
class Eviction:
    """Evicts the keys and values with the lowest scores, the same number from each head.

    Parameters
    ----------
    name : str
        Folder and tracking name.
    method : Scorer
        What a key is worth.
    ratio : float
        Fraction of what is in scope that is evicted, 0 <= ratio < 1; 0 changes nothing.
    scope : str
        audio (only audio tokens can go) or all (text too, as in kvpress).
    seed : int
        Of methods that draw.
    """

    name: str
    method: Scorer
    ratio: float = 0.5
    scope: str = SCOPES[0]
    seed: int = 0
    kind: ClassVar[str] = "eviction"

    def __post_init__(self) -> None:
        demand_ratio(self.name, self.ratio)
        if self.scope not in SCOPES:
            raise ConfigError(f"pruning.scope={self.scope} must be one of {', '.join(SCOPES)}")

    def check(self, model: Model) -> None:
        """ConfigError where `model` cannot be pruned so; needs no weights."""
        demand_prunable(self.name, model)

    @contextmanager
    def __call__(self, model: Model) -> Iterator[None]:
        """`with pruning(model): ...`; a loaded model answers from a smaller cache inside."""
        self.check(model)
        if not self.ratio:
            yield
            return
        from lalm_bench.engine.layers import Stack
        from lalm_bench.pruning.evicting import Evictor

        network, _ = loaded(model)
        with pruned_by(model, Evictor(self, Stack(network))):
            yield
