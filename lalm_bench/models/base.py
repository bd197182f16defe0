"""Defaults of the `Model` contract, so that a small model states only what is its own."""

from __future__ import annotations

from lalm_bench.types import MODES, Json, Runtime


class ModelBase:
    """A deterministic, deaf model that needs nothing fetched or loaded."""

    name: str
    rate: int | None = None
    stochastic: bool = False
    sequential: bool = False
    modes: tuple[str, ...] = MODES[:1]

    def identity(self) -> dict[str, Json]:
        """The class name: enough for a model without weights or settings."""
        return {"model": type(self).__name__}

    def missing(self) -> list[str]:
        """Nothing."""
        return []

    def fetch(self) -> None:
        """Nothing to download."""

    def load(self, runtime: Runtime) -> None:
        """Nothing to load."""

    def report(self) -> dict[str, Json]:
        """Nothing worth telling."""
        return {}
