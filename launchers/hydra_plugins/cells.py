"""hydra/sweeper=cells: Hydra's own sweeper, which composes no cell that the launcher composes.

Hydra checks a sweep by composing every cell, 0.15 s each; a launcher that checks them itself, and
faster, would wait for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

# Overrides of the parent alone: a cell is a single run.
PARENTS_OWN = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweep", "hydra.mode")


class CellSweeper(BasicSweeper):
    """All combinations of `a=1,2 b=3,4`.

    Parameters
    ----------
    max_batch_size : int, optional
    params : dict, optional
        Overrides that every sweep gets.
    """

    def __init__(self, max_batch_size: int | None = None, params: Any = None) -> None:
        super().__init__(max_batch_size, params)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose each cell, unless the launcher `checks_cells`."""
        if not getattr(self.launcher, "checks_cells", False):
            super().validate_batch_is_legal(batch)
