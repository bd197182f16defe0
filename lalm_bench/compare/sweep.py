"""At the end of a sweep, its paired results: `multirun/<time>/paired.{md,json,csv}` and curves.

A Hydra callback. Cells may run in this process, in others (local_gpus), or on other machines
(SLURM): each notes below the sweep's folder where its run lies, before it starts, and the process
that started them reads the notes when all have ended. Nothing heavy is imported before that.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from lalm_bench.errors import BenchError, DataError, one_line

if TYPE_CHECKING:
    from lalm_bench.compare.groups import Report

# Tells the processes that a launcher starts which sweep they belong to.
_VARIABLE = "LALM_BENCH_SWEEP"
_NOTES = ".cells"


class PairedResults(Callback):
    """Notes where each cell's run lies, and compares the cells when all have ended."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Announce the sweep to its cells."""
        sweep = Path(config.hydra.sweep.dir).absolute()
        os.environ[_VARIABLE] = str(sweep)
        options = [f"--outputs={config.paths.outputs}"] + ["--no-figures"] * (not config.figures)
        atexit.register(_conclude_apart, os.getpid(), sweep, options)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare; a failure to is no failure of the sweep."""
        atexit.unregister(_conclude_apart)
        sweep = Path(config.hydra.sweep.dir)
        if (sweep / _NOTES).is_dir():
            try:
                report = compare_sweep(sweep, Path(config.paths.outputs))
                publish(report, sweep, figures=config.figures)
            except BenchError as error:
                sys.stderr.write(f"no paired results: {one_line(error)}\n")

    def on_job_start(
        self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any
    ) -> None:
        """Note where the cell's run lies, whatever becomes of it."""
        if config.stage != "run":
            return
        if config.hydra.mode == RunMode.MULTIRUN:
            sweep = Path(config.hydra.sweep.dir)
        elif _VARIABLE in os.environ:
            sweep = Path(os.environ[_VARIABLE])
        else:
            return
        with contextlib.suppress(BenchError):  # the cell itself reports it
            _note(sweep, config)


def _note(sweep: Path, config: DictConfig) -> None:
    """One file a cell, named by its run."""
    from lalm_bench.build import build
    from lalm_bench.store import write_json

    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    experiment = build(own)
    notes = sweep / _NOTES
    notes.mkdir(parents=True, exist_ok=True)
    overrides = [str(word) for word in config.hydra.overrides.task]
    note = {"folder": str(experiment.folder), "overrides": overrides}
    write_json(notes / f"{experiment.fingerprint}.json", note)


def _conclude_apart(owner: int, sweep: Path, options: Sequence[str]) -> None:
    """A sweep with a failed cell leaves Hydra through an exception, past `on_multirun_end`.

    In a process of its own: this one is ending and can import little.
    """
    if os.getpid() == owner and (sweep / _NOTES).is_dir():
        sys.stdout.flush()
        words = ["-m", "lalm_bench.compare", f"--sweep={sweep}", *options]
        subprocess.run([sys.executable, *words], check=False)


def compare_sweep(sweep: Path, outputs: Path) -> Report:
    """Compare the cells of a sweep that have results by now.

    Raises
    ------
    DataError
        The folder holds no notes of cells.
    """
    notes = sorted((sweep / _NOTES).glob("*.json"))
    if not notes:
        raise DataError(f"{sweep}: no sweep of runs (it holds no {_NOTES}/*.json)")
    cells = [json.loads(note.read_text(encoding="utf-8")) for note in notes]
    return compare_folders([(c["folder"], c["overrides"]) for c in cells], outputs)


def compare_folders(cells: Sequence[tuple[str | Path, Sequence[str]]], outputs: Path) -> Report:
    """Compare runs, each group of them with its own baseline.

    Parameters
    ----------
    cells : sequence of (folder, overrides)
        A run that has no scores yet is left out; `Report.missing` says so.
    outputs : Path
        Where an earlier baseline may lie.
    """
    from lalm_bench import runs
    from lalm_bench.compare.groups import Cell, compare_cells
    from lalm_bench.compare.loaded import load

    found, lost = [], []
    for folder, overrides in cells:
        try:
            found.append(Cell(load(runs.find(str(folder), outputs, runs.SCORED)), (*overrides,)))
        except BenchError as error:
            lost.append(one_line(error))
    report = compare_cells(found, outputs)
    report.missing += lost
    return report


def publish(
    report: Report,
    folder: Path,
    *,
    groups: bool = False,
    power: Sequence[float] = (),
    figures: bool = True,
) -> None:
    """Write the tables below `folder` and print them; nothing where nothing was compared."""
    if report.families:
        from lalm_bench.compare.output import write
        from lalm_bench.compare.tables import show

        show(report.families, groups, power)
        write(folder, report.families, figures)
        sys.stdout.write(f"paired results: {folder}\n")
    for line in report.missing:
        sys.stderr.write(f"not compared: {line}\n")
    sys.stdout.flush()
