"""No tracker: the run folder is the record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lalm_bench.build import Experiment
    from lalm_bench.tracking.base import Log


@dataclass(frozen=True)
class NoTracking:
    """Logs nothing and imports nothing."""

    name: str = "none"

    def prepare(self) -> None:
        """Nothing to prepare."""

    @contextmanager
    def track(self, experiment: Experiment) -> Iterator[Log]:
        """Do nothing around the run."""
        yield lambda results: None

    def complete(self, folders: Sequence[Path]) -> None:
        """Nothing to complete."""
