"""The unpruned model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lalm_bench.types import Model


@dataclass(frozen=True)
class NoPruning:
    """Leaves the model as it is."""

    name: str = "none"

    @contextmanager
    def __call__(self, model: Model) -> Iterator[None]:
        """Do nothing around the run."""
        yield
