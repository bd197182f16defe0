"""What a run asks of its capture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lalm_bench.types import Model, Pruning, Sample

if TYPE_CHECKING:
    from lalm_bench.build import Experiment
    from lalm_bench.preflight import Plan
    from lalm_bench.store import ResponseLog


class Capture(Protocol):
    """Looks into a model after it has answered; no identity includes it, it changes no answer."""

    @property
    def name(self) -> str:
        """As in `capture=NAME`."""

    def check(self, model: Model, pruning: Pruning) -> None:
        """ConfigError where nothing can be captured of `model`; needs no weights."""

    def demand_items(self, samples: Sequence[Sample]) -> None:
        """ConfigError where an item that is asked for is not among those of the run."""

    def finished(self, folder: Path) -> bool:
        """Whether the run folder holds all that these settings ask for."""

    def take(self, experiment: Experiment, plan: Plan, store: ResponseLog) -> list[Path]:
        """Capture what is not there yet; all files.

        Parameters
        ----------
        plan : Plan
            Checked and, where it has steps, advanced.
        store : ResponseLog
            The answers, which later steps are made from.

        Raises
        ------
        Stopped
            It was requested; the same command goes on with the next item.
        """
