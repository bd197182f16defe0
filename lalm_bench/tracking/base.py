"""What a tracker is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    An exception inside the body marks the tracked run as failed and is raised again. A server that
    is away stops no run: what it missed is kept and sent at a later start.
    """

    @property
    def name(self) -> str:
        """As in `tracking=NAME`."""

    def prepare(self) -> None:
        """Make the store ready, once, before many processes use it; send what an earlier run kept.

        Raises
        ------
        ConfigError
            There cannot be such a store. One that is merely away gets a line on stderr.
        """

    def track(self, experiment: Experiment) -> AbstractContextManager[Log]:
        """Open (or resume) the tracked run of this fingerprint."""

    def complete(self, folders: Sequence[Path]) -> None:
        """See to it that these runs are tracked as their folders say; live ones are left alone."""
