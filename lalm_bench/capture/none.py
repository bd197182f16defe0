"""Nothing is captured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lalm_bench.types import Model, Pruning, Sample

if TYPE_CHECKING:
    from lalm_bench.build import Experiment
    from lalm_bench.preflight import Plan
    from lalm_bench.store import ResponseLog


@dataclass(frozen=True)
class NoCapture:
    """Looks away."""

    name: str = "none"

    def check(self, model: Model, pruning: Pruning) -> None:
        """Nothing to refuse."""

    def demand_items(self, samples: Sequence[Sample]) -> None:
        """Nothing to refuse."""

    def finished(self, folder: Path) -> bool:
        """Always."""
        return True

    def take(self, experiment: Experiment, plan: Plan, store: ResponseLog) -> list[Path]:
        """No files."""
        return []
