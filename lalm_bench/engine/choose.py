"""From logits to the next token: the most likely one, or one drawn from a row's own generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from lalm_bench.errors import ConfigError
from lalm_bench.types import Generation


class Choose(Protocol):
    """Logits (rows, vocabulary) -> token ids (rows,). `replayable`: it may go into a CUDA graph."""

    replayable: bool

    def __call__(self, logits: Tensor) -> Tensor:
        """The next token of every row."""

    def rows(self, kept: Tensor) -> Choose:
        """The same for the rows `kept`."""


class Greedy:
    """The most likely token; the first of equals."""

    replayable = True

    def __call__(self, logits: Tensor) -> Tensor:
        """Token ids (rows,)."""
        return logits.argmax(dim=-1)

    def rows(self, kept: Tensor) -> Greedy:
        """Itself: it knows no rows."""
        return self


class Sampled:
    """Temperature and top-p sampling, each row from a generator with its request's own seed.

    So a draw depends neither on the neighbours in a batch nor on their number.
    """

    replayable = False

    def __init__(
        self, generators: Sequence[torch.Generator], temperature: float, top_p: float
    ) -> None:
        self._generators = list(generators)
        self._temperature = temperature
        self._top_p = top_p

    def __call__(self, logits: Tensor) -> Tensor:
        """Token ids (rows,)."""
        ranked, ids = (
            (logits.float().cpu() / self._temperature).softmax(-1).sort(-1, descending=True)
        )
        # The token that crosses top_p stays in.
        ranked[ranked.cumsum(-1) - ranked >= self._top_p] = 0
        drawn = [
            torch.multinomial(p, 1, generator=g)
            for p, g in zip(ranked, self._generators, strict=True)
        ]
        return ids.gather(1, torch.stack(drawn))[:, 0].to(logits.device)

    def rows(self, kept: Tensor) -> Sampled:
        """The generators of the rows that stay."""
        generators = [self._generators[i] for i in kept.tolist()]
        return Sampled(generators, self._temperature, self._top_p)


def chooser(generations: Sequence[Generation]) -> Choose:
    """How the rows of one batch choose; they differ in their seeds at most.

    Raises
    ------
    ConfigError
        Sampling without a seed.
    """
    first = generations[0]
    if first.temperature <= 0:
        return Greedy()
    generators = []
    for generation in generations:
        if generation.seed is None:
            raise ConfigError(
                "generation.temperature > 0 needs a seed for every request: give generation.seed, "
                "or set generation.temperature=0"
            )
        # torch refuses more than 64 bits, sign included.
        generators.append(torch.Generator().manual_seed(generation.seed % (1 << 63)))
    return Sampled(generators, first.temperature, first.top_p)
