"""What a tracker is given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lalm_bench.types import Json

if TYPE_CHECKING:
    import pandas as pd

    from lalm_bench.build import Experiment


@dataclass(frozen=True)
class Results:
    """A scored run."""

    folder: Path
    status: str
    values: dict[str, float | int | None]
    analysis: dict[str, Json]
    decisions: pd.DataFrame
    artifacts: list[Path] = field(default_factory=list)


Log = Callable[[Results], None]


class Tracking(Protocol):
    """`with tracking.track(experiment) as log: ...; log(results)`.

    An exception inside the body marks the tracked run as failed and is raised again.
    """

    name: str

    def track(self, experiment: Experiment) -> AbstractContextManager[Log]:
        """Open (or resume) the tracked run of this fingerprint."""
