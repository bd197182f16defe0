"""`multirun/<name>/sweep.json`: the cells of a sweep, and every submission of them.

multirun/<name>/
    sweep.json        this record; written in one step, before and after each submission
    cells/<n>.json    what became of a cell, written by the job that works on it
    jobs/             submitit's files and the jobs' logs
    table.{csv,md}    the collected results, beside the paired comparisons and figures
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lalm_bench.errors import DataError, StoreError
from lalm_bench.store import read_json, write_json

RECORD = "sweep.json"


@dataclass(frozen=True, order=True)
class Part:
    """What is sent: a cell, or one shard of it that the sweep itself has split off."""

    cell: int
    shard: int | None = None

    @property
    def note(self) -> str:
        """Name of the file in which its job says what became of it."""
        return f"{self.cell}.json" if self.shard is None else f"{self.cell}.shard-{self.shard}.json"


@dataclass(frozen=True)
class Cell:
    """One combination of the sweep's settings.

    Parameters
    ----------
    number : int
    overrides : tuple of str
        What the command line would say.
    stage : str
        `run`, or another stage of the program, which has no run folder of its own.
    fingerprint, folder : str or None
        Of the run.
    model : str
        Equal for cells that one loaded model serves.
    shards : int
        Parts that the sweep splits it into.
    same_as : int or None
        An earlier cell that is the same run; this one is then not sent.
    finished : bool
        Its result was there before the sweep; it is not sent.
    """

    number: int
    overrides: tuple[str, ...]
    stage: str
    fingerprint: str | None
    folder: str | None
    model: str
    shards: int = 1
    same_as: int | None = None
    finished: bool = False

    @property
    def parts(self) -> list[Part]:
        """What has to be sent of it, results apart."""
        if self.same_as is not None:
            return []
        if self.shards == 1:
            return [Part(self.number)]
        return [Part(self.number, shard) for shard in range(self.shards)]


@dataclass(frozen=True)
class Job:
    """One SLURM job (mostly a task of an array): its id, its log, and its parts in order."""

    job: str
    log: str
    parts: tuple[Part, ...]


@dataclass
class Submission:
    """One sending of parts. `jobs` is empty until SLURM has taken them.

    Parameters
    ----------
    number : int
    job_name : str
        Its own, so that its jobs are found even if the submitter died before it wrote their ids.
    at : float
        Seconds since 1970.
    """

    number: int
    job_name: str
    at: float
    jobs: list[Job] = field(default_factory=list)


@dataclass
class Sweep:
    """A sweep's record.

    Parameters
    ----------
    folder : Path
        Where it lies; absolute.
    cwd : str
        Where the command was given; relative paths of settings are meant from there.
    hydra : list of str
        Overrides that each cell needs besides its own: folders of configuration.
    config_name : str
    launcher : dict
        See `Settings`.
    outputs : str
    figures : bool
    cells : list of Cell
    submissions : list of Submission
    """

    folder: Path
    cwd: str
    hydra: list[str]
    config_name: str
    launcher: dict[str, Any]
    outputs: str
    figures: bool
    cells: list[Cell]
    submissions: list[Submission] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    def run_folder(self, cell: Cell) -> Path | None:
        """Where the cell's run lies."""
        return None if cell.folder is None else Path(self.cwd, cell.folder)

    def settings(self, cell: Cell) -> list[str]:
        """The overrides that tell the cell from the others."""
        return own_words(cell.overrides, [c.overrides for c in self.cells])

    def jobs(self) -> Iterator[tuple[Submission, Job]]:
        """All jobs, the newest first."""
        for submission in reversed(self.submissions):
            for job in submission.jobs:
                yield submission, job

    def last_job(self, part: Part) -> tuple[Submission, Job] | None:
        """The job that the part was sent with last."""
        return next(((s, job) for s, job in self.jobs() if part in job.parts), None)

    def note(self, part: Part) -> dict[str, Any]:
        """What a job wrote of the part; empty before one began it."""
        return read_json(self.folder / "cells" / part.note) or {}

    def save(self) -> None:
        """Write `sweep.json` in one atomic step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {k: v for k, v in asdict(self).items() if k != "folder"}
        write_json(self.folder / RECORD, content)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the record while it is changed; StoreError when another process does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".sweep.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(
                f"{self.folder}: another command is submitting or resuming this sweep; wait for it"
            ) from None
        try:
            yield
        finally:
            lock.release()
            if not (self.folder / RECORD).exists():  # nothing came of it
                Path(lock.lock_file).unlink(missing_ok=True)
                with suppress(OSError):
                    self.folder.rmdir()


def load(folder: Path) -> Sweep:
    """The record below `folder`.

    Raises
    ------
    DataError
        There is none, or it is no sweep's.
    """
    content = read_json(folder / RECORD)
    if content is None:
        raise DataError(f"{folder}: no sweep (it holds no {RECORD}){_others(folder.parent)}")
    try:
        cells = [Cell(**{**c, "overrides": tuple(c["overrides"])}) for c in content.pop("cells")]
        submissions = [
            Submission(**{**s, "jobs": [_job(job) for job in s["jobs"]]})
            for s in content.pop("submissions")
        ]
        return Sweep(folder.absolute(), cells=cells, submissions=submissions, **content)
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{folder / RECORD}: no sweep's record ({error!r})") from error


def _job(content: dict[str, Any]) -> Job:
    return Job(content["job"], content["log"], tuple(Part(**p) for p in content["parts"]))


def _others(folder: Path) -> str:
    names = sorted((p.parent for p in folder.glob(f"*/{RECORD}")), key=lambda p: p.stat().st_mtime)
    if not names:
        return f"; there is no sweep below {folder}"
    return f"; there are {', '.join(p.name for p in names[-8:])}"


def own_words(words: Sequence[str], of_all: Sequence[Sequence[str]]) -> list[str]:
    """The overrides of a cell that not every cell has; all of them where there is one cell."""
    shared = set.intersection(*map(set, of_all)) if len(of_all) > 1 else set()
    return [word for word in words if word not in shared]
