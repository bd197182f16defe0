"""What can be asked of a sweep that was submitted: each returns an exit code."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from lalm_bench.errors import ConfigError, DataError, StoreError
from lalm_bench.sweep import slurm
from lalm_bench.sweep import states as told
from lalm_bench.sweep.collect import collect as write_tables
from lalm_bench.sweep.record import Sweep, load
from lalm_bench.sweep.settings import Settings
from lalm_bench.sweep.start import hints
from lalm_bench.sweep.states import ACTIVE, DONE, State, undone
from lalm_bench.sweep.submission import resend, unsent
from lalm_bench.sweep.watch import wait as wait_for

NOT_ALL_DONE = 1
# SLURM kills what does not end after its KillWait, 30 s by default.
_CANCELLING_S = 90


def status(folder: Path, wait: bool = False) -> int:
    """Show the state of every cell."""
    sweep = _load(folder)
    states = wait_for(sweep, Settings.of(sweep.launcher).poll_s) if wait else _look(sweep)
    sys.stdout.write(told.table(sweep, states))
    return _code(states)


def logs(folder: Path, cell: int | None = None, lines: int = 20) -> int:
    """Show the end of a job's log, and the traceback of its run."""
    sweep = _load(folder)
    states = _look(sweep)
    if cell is not None and not 0 <= cell < len(states):
        raise ConfigError(f"{sweep.name} has the cells 0 to {len(states) - 1}, and no {cell}")
    chosen = [states[cell]] if cell is not None else [s for s in states if s.word not in ACTIVE]
    shown = [s for s in chosen if cell is not None or s.word != DONE]
    for state in shown:
        title = f"cell {state.cell.number}, {state.word}: {' '.join(sweep.settings(state.cell))}"
        sys.stdout.write(f"=== {title}\n")
        _show(Path(state.log) if state.log else None, lines)
        run = sweep.run_folder(state.cell)
        if run is not None and (run / "traceback.txt").is_file():
            _show(run / "traceback.txt", lines)
    if not shown:
        sys.stdout.write("no cell has failed\n")
    return 0


def resume(folder: Path, changes: Sequence[str] = ()) -> int:
    """Send what has no result and is not on its way."""
    from lalm_bench.sweep.__main__ import changes as parsed

    sweep = _load(folder)
    with sweep.changing():
        states = _look(sweep)
        parts = undone(sweep, states)
        if not parts:
            sys.stdout.write(f"nothing to send: {told.summary(states)}\n")
            return _code(states)
        submission = resend(sweep, parts, parsed(changes))
    sent = ", ".join(sorted({job.job.partition("_")[0] for job in submission.jobs}))
    sys.stdout.write(f"{len(parts)} parts in {len(submission.jobs)} jobs of SLURM job {sent}\n")
    sys.stdout.write(hints(sweep))
    return 0


def cancel(folder: Path) -> int:
    """End the jobs, wait until they have ended, and show what is left."""
    sweep = _load(folder)
    try:
        alive = [job for job, fact in told.facts(sweep).items() if fact.active]
        slurm.cancel(alive, unsent(sweep))
        deadline = time.monotonic() + _CANCELLING_S
        while time.monotonic() < deadline:
            if not any(fact.active for fact in told.facts(sweep).values()):
                break
            time.sleep(1)
    except slurm.Silent as error:
        raise StoreError(f"SLURM does not answer ({error}); try again") from error
    sys.stdout.write(f"cancelled {len(alive)} jobs\n")
    states = _look(sweep)
    sys.stdout.write(told.table(sweep, states))
    return _code(states)


def collect(folder: Path) -> int:
    """Write the tables of what is done by now."""
    sweep = _load(folder)
    states = write_tables(sweep, _look(sweep))
    sys.stdout.write(f"{told.summary(states)}\n")
    return _code(states)


def _load(folder: Path) -> Sweep:
    sweep = load(folder)
    if not Path(sweep.cwd).is_dir():
        raise DataError(f"{sweep.cwd}: not here, and the sweep's results lie relative to it")
    os.chdir(sweep.cwd)
    return sweep


def _look(sweep: Sweep) -> list[State]:
    """The states; without SLURM, one line, and what the run folders tell."""
    try:
        return told.look(sweep)
    except slurm.Silent as error:
        raise StoreError(f"SLURM does not answer ({error}); try again") from error


def _code(states: Sequence[State]) -> int:
    return 0 if all(state.word == DONE for state in states) else NOT_ALL_DONE


def _show(file: Path | None, lines: int) -> None:
    if file is None or not file.is_file():
        sys.stdout.write(f"(no log{f' at {file}' if file else ': it was not sent'})\n")
        return
    with open(file, encoding="utf-8", errors="replace") as text:
        last = deque(text, maxlen=max(lines, 0))
    sys.stdout.write(f"--- {file}\n{''.join(last)}\n")
