"""What a job does: its cells in order, one resident model, each failure kept to its own cell.

A preemption or the time limit ends the batch in hand, stores it, and puts the job back into the
queue; started again, it goes through the same list, in which finished cells take half a second.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench import stopping
from lalm_bench.errors import BenchError, Busy, Incomplete, Stopped, one_line
from lalm_bench.provenance import now, public
from lalm_bench.store import read_json, write_json

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from lalm_bench.one_model import OneModel
    from lalm_bench.sweep.composing import Composed

RUNNING, WAITING, STOPPED = "running", "waiting", "stopped"
DONE, INCOMPLETE, FAILED = "done", "incomplete", "failed"
SWEEP = "LALM_BENCH_SWEEP"
_BUSY_EVERY_S = 5
# A cancelled job is killed after SLURM's KillWait, a preempted one after its partition's GraceTime.
_LEFT_ALONE_S = 300
_BY_SIGTERM = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Assignment:
    """One cell, or a shard of it: its number, the name of its note, and its overrides."""

    cell: int
    note: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Pack:
    """All that a job needs to know: plain data.

    Parameters
    ----------
    sweep, cwd : str
        The sweep's folder; and the folder that relative settings are meant from.
    submission : int
    config_name : str
    hydra : tuple of str
        Overrides that every cell needs besides its own.
    assignments : tuple of Assignment
    """

    sweep: str
    cwd: str
    submission: int
    config_name: str
    hydra: tuple[str, ...]
    assignments: tuple[Assignment, ...]


class Worker:
    """Called by submitit on the node, with a `Pack`."""

    def checkpoint(self, pack: Pack) -> Any:
        """What the job is when it starts again: the same list; run folders know what is done."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, pack)

    def __call__(self, pack: Pack) -> None:
        """Work on all cells.

        Raises
        ------
        Incomplete
            Some cells have no result, so that the job ends with a non-zero exit code.
        """
        announced = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
        requeue = signal.getsignal(announced)
        os.chdir(pack.cwd)
        os.environ[SWEEP] = pack.sweep
        try:
            with stopping.listening(announced, signal.SIGTERM):
                failed = _work(pack)
        except Stopped as stop:
            _say(f"stopped by {stop.reason}")
            if stop.reason == announced.name and callable(requeue):
                requeue(announced, None)
            # Whether a SIGTERM is a cancellation or a preemption only SLURM knows. It ends this
            # process either way, and puts a preempted job back into the queue if that still runs.
            time.sleep(_LEFT_ALONE_S)
            sys.exit(_BY_SIGTERM)
        if failed:
            raise Incomplete(
                f"{len(failed)} of {len(pack.assignments)} cells have no result: cells "
                f"{', '.join(str(cell) for cell in failed)}"
            )


def _work(pack: Pack) -> list[int]:
    """Numbers of the cells that failed."""
    from lalm_bench import audio
    from lalm_bench.one_model import OneModel
    from lalm_bench.sweep.composing import composing

    audio.keep_clips()
    model, failed = OneModel(), []
    waiting, turned_away = deque(pack.assignments), 0
    with composing(pack.config_name, pack.hydra) as composed:
        while waiting:
            stopping.check()
            assignment = waiting.popleft()
            note = _Note(pack, assignment)
            try:
                if not _one(assignment, composed, model, note):
                    failed.append(assignment.cell)
                turned_away = 0
            except Busy as busy:
                note.save(WAITING, busy)
                waiting.append(assignment)
                turned_away += 1
                if turned_away >= len(waiting):
                    _say(f"cell {assignment.cell} waits: {one_line(busy)}")
                    _pause(_BUSY_EVERY_S)
    return failed


def _one(assignment: Assignment, composed: Composed, model: OneModel, note: _Note) -> bool:
    """Work on one cell; whether it has a result. Its failure must not take the others with it."""
    _say(f"cell {assignment.cell}: {' '.join(assignment.overrides)}")
    note.save(RUNNING)
    try:
        config = composed(assignment.overrides)
        _run(config, model)
    except Busy:
        raise
    except Stopped as error:
        note.save(STOPPED, error)
        raise
    except (BenchError, Incomplete) as error:
        sys.stderr.write(f"cell {assignment.cell}: {one_line(error)}\n")
        note.save(INCOMPLETE if isinstance(error, Incomplete) else FAILED, error)
        return False
    except Exception as error:  # whatever one cell raises, the others of the job are run
        sys.stderr.write(public(traceback.format_exc()))
        note.save(FAILED, error)
        model.drop()  # a network in an unknown state answers nothing more
        if type(error).__name__ == "AcceleratorError":
            raise  # the device is lost: every further cell would fail for this one's sake
        return False
    note.save(DONE)
    return True


def _run(config: DictConfig, model: OneModel) -> None:
    from lalm_bench.cli import STAGES
    from lalm_bench.run import run
    from lalm_bench.sweep.composing import RUN

    stages = [config.stage]
    if config.stage == RUN:
        run(config, model.of(config))
        stages = ["judge"] if config.judge.name != "none" else []
        if stages:
            model.drop()  # a judge may need its memory
    from importlib import import_module

    for stage in stages:
        module, function = STAGES[stage]
        getattr(import_module(module), function)(config)


class _Note:
    """`cells/<n>.json`: what becomes of a cell, for whoever asks about the sweep."""

    def __init__(self, pack: Pack, assignment: Assignment) -> None:
        import submitit

        self._path = Path(pack.sweep, "cells", assignment.note)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._earlier = (read_json(self._path) or {}).get("seconds", 0.0)
        self._since = time.monotonic()
        self._facts = {
            "cell": assignment.cell,
            "submission": pack.submission,
            "job": submitit.JobEnvironment().job_id,
            "began": now(),
        }

    def save(self, state: str, error: Exception | None = None) -> None:
        """Write it; `seconds` counts all starts together."""
        seconds = round(self._earlier + time.monotonic() - self._since, 1)
        facts = {**self._facts, "state": state, "seconds": seconds}
        if error is not None:
            facts["error"] = public(one_line(error)) or type(error).__name__
        write_json(self._path, facts)


def _pause(seconds: int) -> None:
    for _ in range(seconds):
        stopping.check()
        time.sleep(1)


def _say(line: str) -> None:
    sys.stdout.write(f"\n{line}\n")
    sys.stdout.flush()
