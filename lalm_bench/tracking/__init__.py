"""Experiment trackers: MLflow shows what the run folders hold.

A run folder is the record. A tracker only mirrors it, so whatever could not be sent can be sent
later, from the folder alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lalm_bench.tracking.base import Tracking


def reconcile(folder: Path | str, reason: str = "", tracking: Tracking | None = None) -> bool:
    """Put right a run whose process is dead: in `run.json` and where it is tracked.

    A run (or a shard of one) that says `running` while nobody holds its lock becomes `failed`, with
    an error that begins with `killed`. A live run, and a folder without a run, are left alone.

    Parameters
    ----------
    folder : Path or str
        The run's folder.
    reason : str
        What is known of its end, as `cancelled` or `node n3 failed`.
    tracking : Tracking, optional
        Where it is tracked; by default what its own configuration says. Needed where that has a
        password, which no run folder holds.

    Returns
    -------
    bool
        Whether nobody works on the run. A tracking server that is away is told at the next start.

    Raises
    ------
    StoreError
        `run.json` is damaged.
    """
    from lalm_bench.tracking.dead import bury
    from lalm_bench.tracking.record import Record

    folder = Path(folder)
    if not bury(folder, reason):
        return False
    record = Record.read(folder)
    if tracking is None and record is not None:
        tracking = record.tracking()
    if tracking is not None:
        tracking.complete([folder])
    return True
