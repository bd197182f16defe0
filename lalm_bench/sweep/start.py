"""A new sweep: check everything, record it, send it, and wait for it if asked to."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from lalm_bench.errors import ConfigError, Incomplete, Stopped
from lalm_bench.sweep import slurm, worker
from lalm_bench.sweep.record import RECORD, Part, Sweep
from lalm_bench.sweep.settings import Settings


def start(
    folder: Path,
    sweep_overrides: Sequence[Sequence[str]],
    settings: Settings,
    *,
    config_name: str = "config",
    folders: Sequence[str] = (),
    hydra_words: Sequence[str] = (),
    outputs: str = "outputs",
    figures: bool = True,
) -> Sweep:
    """Submit all cells that are not done already.

    Parameters
    ----------
    folder : Path
        Of the sweep's record.
    sweep_overrides : sequence of sequence of str
        The overrides of each cell.
    settings : Settings
    config_name, folders, hydra_words
        What the command line said of configuration: the file, more folders of it, and overrides of
        Hydra's own settings that cells need too.
    outputs, figures
        For the comparisons at the end.

    Raises
    ------
    ConfigError
        A cell is wrong, there is such a sweep already, or SLURM refuses: nothing was submitted.
    """
    from lalm_bench.sweep.cells import check, search_path
    from lalm_bench.sweep.submission import send

    folder = folder.absolute()
    if (folder / RECORD).exists():
        raise ConfigError(
            f"{folder}: there is such a sweep already; python -m lalm_bench.sweep resume "
            f"{folder.name} sends what is not done of it, or take another name"
        )
    slurm.demand()
    os.environ[worker.SWEEP] = str(folder)
    words = [*search_path(folders), *hydra_words]
    cells = check(sweep_overrides, config_name, words)
    launcher = settings.json()
    sweep = Sweep(folder, os.getcwd(), words, config_name, launcher, outputs, figures, cells)
    parts = [part for cell in cells if not cell.finished for part in cell.parts]
    with sweep.changing():
        sweep.save()
        try:
            if parts:
                send(sweep, parts)
        except ConfigError:
            (folder / RECORD).unlink()
            shutil.rmtree(folder / "jobs", ignore_errors=True)
            raise
    sys.stdout.write(_told(sweep, parts))
    sys.stdout.flush()
    return sweep


def _told(sweep: Sweep, parts: Sequence[Part]) -> str:
    jobs = [job for _, job in sweep.jobs()]
    finished = sum(cell.finished for cell in sweep.cells)
    same = sum(cell.same_as is not None for cell in sweep.cells)
    notes = [f"{finished} finished before"] * bool(finished)
    notes += [f"{same} asked twice"] * bool(same)
    arrays = sorted({job.job.partition("_")[0] for job in jobs}, key=int)
    what = f"{len(sweep.cells)} cells" + (f" ({', '.join(notes)})" if notes else "")
    sent = f"{len(jobs)} jobs of SLURM job {', '.join(arrays)}" if jobs else "nothing to send"
    return f"sweep {sweep.name}: {what}: {sent}\nrecord: {sweep.folder / RECORD}\n"


def see_through(sweep: Sweep) -> None:
    """Wait for a sweep, show and collect it.

    Raises
    ------
    Incomplete
        Some cells have no result.
    KeyboardInterrupt, Stopped
        Ctrl-C, SIGTERM; the jobs run on.
    """
    from lalm_bench.sweep.collect import collect
    from lalm_bench.sweep.states import DONE, State, summary, table
    from lalm_bench.sweep.watch import wait

    try:
        states: Sequence[State] = wait(sweep, Settings.of(sweep.launcher).poll_s)
    except (KeyboardInterrupt, Stopped):
        sys.stderr.write(f"\nthe jobs run on:\n{hints(sweep)}")
        raise
    states = collect(sweep, states)
    sys.stdout.write(table(sweep, states))
    sys.stdout.flush()
    if any(state.word != DONE for state in states):
        raise Incomplete(
            f"{summary(states)}; the logs say why, and python -m lalm_bench.sweep resume "
            f"{_named(sweep)} sends only what is not done"
        )


def hints(sweep: Sweep) -> str:
    """How to go on with a sweep that nobody waits for."""
    name = _named(sweep)
    verbs = {"status": "how far it is", "cancel": "end it", "collect": "its tables and figures"}
    return "".join(
        f"  {f'python -m lalm_bench.sweep {verb} {name}':<52}  {what}\n"
        for verb, what in verbs.items()
    )


def _named(sweep: Sweep) -> str:
    """As the commands find it from here: a name below `multirun`, or a path."""
    usual = Path("multirun", sweep.name).absolute()
    if usual == sweep.folder:
        return sweep.name
    return os.path.relpath(sweep.folder)
