"""Which runs a report is about: what was named on the command line, and their baselines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_bench import runs
from lalm_bench.compare.groups import Cell, Report, compare_cells
from lalm_bench.compare.loaded import Run, load
from lalm_bench.errors import BenchError, DataError, one_line
from lalm_bench.store import read_json

CELLS = ".cells"
_STUDY = "study.json"
_JUDGED = "judge"
_NO_RUNS = frozenset({_JUDGED, "artifacts"})


@dataclass(frozen=True)
class Sources:
    """What a report shows.

    Parameters
    ----------
    runs : list of Run
        Those that were named, and after them baselines that were found beside them.
    paired : Report
        The runs, each group compared with its own baseline.
    left_out : list of str
        One line for each run that has no result.
    studies : list of dict
        `pruning.json` of the studies among what was named.
    home : Path
        Where the report lies when nothing else is said.
    """

    runs: list[Run]
    paired: Report
    left_out: list[str]
    studies: list[dict[str, Any]]
    home: Path


def find(words: Sequence[str], outputs: Path) -> Sources:
    """Resolve folders of runs, fingerprints, sweeps, studies, and folders that hold runs.

    Parameters
    ----------
    words : sequence of str
    outputs : Path
        Where fingerprints are looked up.

    Raises
    ------
    DataError
        A word names nothing, or no run that it names has a result.
    """
    cells: list[Cell] = []
    left_out: list[str] = []
    studies = []
    for word in words:
        folder = Path(word)
        for path, overrides in _named(folder, outputs):
            try:
                cells.append(Cell(load(runs.find(str(path), outputs, runs.SCORED)), overrides))
            except BenchError as error:
                left_out.append(one_line(error))
        pruning = read_json(folder / "pruning.json") if folder.is_dir() else None
        if isinstance(pruning, dict):
            studies.append(pruning)
    unique = {cell.run.folder.resolve(): cell for cell in cells}
    if not unique:
        reasons = f" ({left_out[0]})" if left_out else ""
        raise DataError(f"{' '.join(words)}: no run that has results{reasons}")
    found = [cell.run for cell in unique.values()]
    paired = compare_cells([*unique.values()], _outputs(found[0]))
    known = {run.fingerprint for run in found}
    for family in paired.families:
        if family.baseline.fingerprint not in known:
            found.append(family.baseline)
            known.add(family.baseline.fingerprint)
    # Each task's runs stand together; a baseline comes first, and then its runs by rising level.
    tasks = list(dict.fromkeys(str(run.config["task"]["name"]) for run in found))
    order = {c.run.fingerprint: i for f in paired.families for i, c in enumerate(f.cells, 1)}
    found.sort(
        key=lambda run: (
            tasks.index(str(run.config["task"]["name"])),
            str(run.config["model"]["name"]),
            str(run.config["task"].get("protocol")),
            order.get(run.fingerprint, 0),
        )
    )
    home = Path(words[0]) if len(words) == 1 and Path(words[0]).is_dir() else Path()
    return Sources(found, paired, left_out, studies, home / "report")


def _named(folder: Path, outputs: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """The runs that one word means, with the overrides that made them where these are known."""
    if folder.parent.name == _JUDGED and (folder.parent.parent / "run.json").is_file():
        # What judges say of a run is shown with the run; its own scores stay its own.
        return [(folder.parent.parent, ())]
    if (folder / "run.json").is_file() or not folder.is_dir():
        return [(folder, ())]
    if notes := sorted((folder / CELLS).glob("*.json")):
        cells = [read_json(note) for note in notes]
        return [(_moved(Path(c["folder"]), folder), tuple(c["overrides"])) for c in cells]
    if isinstance(study := read_json(folder / _STUDY), dict):
        return [
            (Path(c["folder"]), tuple(c["overrides"])) for c in study["cells"] if c.get("folder")
        ]
    below = []
    for place, folders, files in os.walk(folder):
        # Judged runs belong to the run they lie in, and a local MLflow store has copies of runs;
        # what starts with a dot is in the making.
        folders[:] = [f for f in folders if f not in _NO_RUNS and not f.startswith(".")]
        if "run.json" in files:
            below.append(Path(place))
    if not below:
        raise DataError(
            f"{folder}: no run, sweep or study lies there; name a folder that holds run.json, or "
            "multirun/<time>"
        )
    return [(path, ()) for path in sorted(below)]


def _moved(run: Path, sweep: Path) -> Path:
    """A run's folder as the sweep noted it, or below `outputs` beside the sweep's own place."""
    if run.is_absolute() or run.is_dir():
        return run
    beside = sweep.parent.parent / run
    return beside if beside.is_dir() else run


def _outputs(run: Run) -> Path:
    """Where a run lies: <outputs>/<task>/<model>/<condition>/<fingerprint>/."""
    return run.folder.absolute().parents[3]
