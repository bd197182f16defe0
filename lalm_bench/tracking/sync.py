"""A store made equal to a folder of runs, from that folder alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lalm_bench.errors import StoreError, one_line
from lalm_bench.store import read_json
from lalm_bench.tracking import dead, mirror
from lalm_bench.tracking.connection import Away, Connection
from lalm_bench.tracking.record import Record
from lalm_bench.tracking.unsent import Unsent

if TYPE_CHECKING:
    from mlflow.entities import Run

SENT, KNOWN, AT_WORK, REFUSED = "sent", "as it was", "at work", "not sent"


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Parameters
    ----------
    folder : Path
    status : str
        In `run.json`, after a dead run was put right.
    did : str
        `sent`, `as it was`, `at work` (its own process sends it) or `not sent`.
    dead : bool
        It said `running`, and no process worked on it.
    reason : str
        Why it was not sent.
    """

    folder: Path
    status: str
    did: str
    dead: bool = False
    reason: str = ""


def folders(outputs: Path) -> list[Path]:
    """All run folders, in the order of their names."""
    return sorted(file.parent for file in outputs.glob("*/*/*/*/run.json"))


def sync(
    store: Connection | None, unsent: Unsent, runs: list[Path], dry: bool = False
) -> Iterator[Outcome]:
    """Send every run that the store does not have as its folder says.

    One MLflow run a fingerprint: what is there is brought up to date, and what is up to date is
    left alone. A run that says `running` and is dead becomes failed.

    Parameters
    ----------
    store : Connection, optional
        None only in a dry run: there is no such store yet.
    unsent : Unsent
        Notes about this store; those of the runs sent are dropped.
    runs : list of Path
        Run folders.
    dry : bool
        Say what would be done, and do nothing.

    Raises
    ------
    Away
        The store cannot be searched.
    """
    there = {} if store is None else mirror.index(store)
    for folder in runs:
        try:
            outcome = _one(store, there, folder, dry)
        except (Away, StoreError, OSError) as error:
            outcome = Outcome(folder, "?", REFUSED, reason=one_line(error))
        if not dry and outcome.did in (SENT, KNOWN):
            unsent.drop(folder)
        yield outcome


def _one(store: Connection | None, there: dict[str, Run], folder: Path, dry: bool) -> Outcome:
    said = (read_json(folder / "run.json") or {}).get("status")
    if dead.held(folder):
        return Outcome(folder, str(said), AT_WORK)
    if not dry:
        dead.bury(folder)
    record = Record.read(folder)
    if record is None:
        raise StoreError("run.json holds no run")
    status = str(record.state.get("status"))
    died = said == "running" and (dry or status != said)
    known = there.get(record.fingerprint)
    if not died and known is not None and mirror.is_told(known, record, record.stamp()):
        return Outcome(folder, status, KNOWN)
    if store is not None and not dry:
        mirror.finish(store, record)
    return Outcome(folder, status, SENT, died)
