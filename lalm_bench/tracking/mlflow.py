"""One MLflow run per fingerprint: a mirror of the run's folder."""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from lalm_bench.errors import BenchError, Stopped, StoreError
from lalm_bench.provenance import public
from lalm_bench.tracking import dead, mirror
from lalm_bench.tracking.connection import Away, Connection, connect
from lalm_bench.tracking.record import Record, joined
from lalm_bench.tracking.unsent import Unsent

if TYPE_CHECKING:
    from mlflow.entities import Run

    from lalm_bench.build import Experiment
    from lalm_bench.tracking.base import Log, Results

# What a start may spend on runs of earlier starts, seconds.
_BUDGET_S = 10.0
_SYNC = "python -m lalm_bench.tracking sync"


@dataclass(frozen=True)
class MlflowTracking:
    """Tracks into any MLflow store.

    Parameters
    ----------
    uri : str
        `sqlite:///file`, `http://host:port`, or whatever MLflow accepts.
    experiment : str
        Experiment name; created when missing.
    artifacts : str
        Artifact folder of a local (sqlite) store; a server uses its own.
    sweep : str, optional
        Tag that the runs of a sweep share; of a path the last part.
    outputs : str
        Where runs lie; what a store missed is noted in its folder `.unsent`.
    """

    name: str = "mlflow"
    uri: str = "sqlite:///outputs/mlflow.db"
    experiment: str = "lalm_bench"
    artifacts: str = "outputs/mlruns"
    sweep: str | None = None
    outputs: str = "outputs"

    def prepare(self) -> None:
        """Make store and experiment, once, and send what an earlier run kept."""
        if store := self._reach():
            self._catch_up(store)

    @contextmanager
    def track(self, experiment: Experiment) -> Iterator[Log]:
        """Open or resume the run; at the end it is what the folder has become.

        FINISHED, or FAILED with the traceback on an error, KILLED when it was stopped; RUNNING as
        long as `run.json` says so.
        """
        folder = experiment.folder
        store = self._reach()
        if store is not None:
            self._catch_up(store, folder)
        self._unsent.add(folder)
        reached = self._begin(store, folder)
        logged: list[Results] = []
        try:
            yield logged.append
        except BaseException as error:
            status = "FAILED" if _is_failure(error) else "KILLED"
            self._end(folder, logged, (status, traceback.format_exc()), reached)
            raise
        self._end(folder, logged, None, reached)

    def complete(self, folders: Sequence[Path]) -> None:
        """Send these runs, all of them, and add the sweep's tag; live ones are left alone."""
        for folder in folders:
            if (folder / "run.json").is_file():
                self._unsent.add(folder)
        if store := self._reach():
            self._deliver(store, folders, sweep=self.sweep, there=self._there(store))

    def _there(self, store: Connection) -> dict[str, Run]:
        """The sweep's runs in the store, by fingerprint, asked for at once; perhaps not all."""
        name = next(iter(joined(self.sweep)), "")
        if not name or "'" in name:
            return {}
        try:
            return mirror.index(store, f"tags.sweep LIKE '%{name}%'")
        except Away:
            return {}

    @property
    def _unsent(self) -> Unsent:
        return Unsent(Path(self.outputs), self.uri, self.experiment)

    def _reach(self) -> Connection | None:
        """The store, or None and a line on stderr."""
        try:
            return connect(self.uri, self.experiment, self.artifacts)
        except Away as error:
            self._say(f"does not answer ({error}); what it misses is kept, a later start sends it")
            return None

    def _begin(self, store: Connection | None, folder: Path) -> bool:
        """Whether the store knows of the run."""
        record = Record.read(folder)
        if record is None:
            return False
        place = {"uri": public(self.uri), "experiment": self.experiment}
        record = _joining(record, self.sweep).noted(**place, slurm_job=_slurm_job())
        if store is None:
            return False
        try:
            mirror.begin(store, record)
        except Away as error:
            self._say(f"did not take it ({error}); it is kept, a later start sends it")
            return False
        return True

    def _end(
        self,
        folder: Path,
        results: list[Results],
        failed: tuple[str, str] | None,
        reached: bool,
    ) -> None:
        """Send the end; a store that is away now is told at the next start."""
        try:
            record = Record.read(folder)
            if record is None:
                return
            store = connect(self.uri, self.experiment, self.artifacts)
            mirror.finish(store, record, results, failed)
        except (Away, BenchError) as error:
            if reached:
                self._say(f"went away ({error}); the result is kept, a later start sends it")
            return
        if record.ended != "RUNNING" or failed:
            self._unsent.drop(folder)

    def _catch_up(self, store: Connection, but: Path | None = None) -> None:
        """Send what earlier runs left, within the budget; by one process at a time."""
        with self._unsent.alone() as alone:
            if not alone:
                return
            own = but.absolute() if but else None
            waiting = [f for f in self._unsent.folders() if f.absolute() != own]
            sent, left = self._deliver(store, waiting, time.monotonic() + _BUDGET_S)
        if sent:
            more = f"; {left} remain for the next start, or for {_SYNC}" if left else ""
            self._say(f"now has {sent} earlier run{'s' * (sent > 1)}{more}")

    def _deliver(
        self,
        store: Connection,
        folders: Sequence[Path],
        deadline: float = math.inf,
        sweep: str | None = None,
        there: Mapping[str, Run] = MappingProxyType({}),
    ) -> tuple[int, int]:
        """How many runs the store has now, and how many are still to be sent.

        What `there` shows to be told is not asked for again.
        """
        sent, left = 0, 0
        for place, folder in enumerate(folders):
            if time.monotonic() > deadline:
                return sent, left + len(folders) - place
            try:
                if not dead.bury(folder):
                    continue  # it lives, and sends itself
                record = Record.read(folder)
                if record is not None:
                    record = _joining(record, sweep)
                    run = there.get(record.fingerprint)
                    if run is None or not mirror.is_told(run, record, record.stamp()):
                        mirror.finish(store, record)
            except StoreError as error:
                self._say(f"cannot be told of {folder}: {error}")
                continue
            except Away as error:
                self._say(f"did not take {folder} ({error}); a later start sends it")
                left += 1
                continue
            self._unsent.drop(folder)
            sent += 1
        return sent, left

    def _say(self, words: str) -> None:
        sys.stderr.write(f"MLflow at {public(self.uri)} {words}\n")


def _is_failure(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, Stopped)


def _joining(record: Record, sweep: str | None) -> Record:
    """The record of a run that is a cell of this sweep, too."""
    return record.noted(sweep=",".join(joined(record.note.get("sweep"), sweep)) or None)


def _slurm_job() -> str | None:
    array, task = (os.environ.get(f"SLURM_ARRAY_{k}") for k in ("JOB_ID", "TASK_ID"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
