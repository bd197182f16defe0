"""The cells of a sweep: which of them belong together, and what each group is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_bench import runs
from lalm_bench.compare.family import Family, adjust, compare
from lalm_bench.compare.loaded import Run, load
from lalm_bench.compare.settings import asked_alike, condition
from lalm_bench.errors import BenchError, one_line
from lalm_bench.identity import canonical
from lalm_bench.store import read_json

# Settings at which an intervention asks the unchanged requests.
_UNCHANGED = {"ratio": 0, "level": 0, "db": 0, "factor": 1, "snr_db": None, "rate_hz": None}


@dataclass(frozen=True)
class Cell:
    """One finished cell: its run, and the overrides that made it."""

    run: Run
    overrides: tuple[str, ...] = ()


@dataclass
class Report:
    """Families that could be compared, and one line for each group or cell that could not."""

    families: list[Family]
    missing: list[str]


def compare_cells(cells: Sequence[Cell], outputs: Path) -> Report:
    """Compare the cells of a sweep, each group with its own baseline.

    A group is what shares everything but intervention and pruning. Its baseline is the run that an
    intervention itself builds on, else the cell without intervention (or at level 0), else a run of
    the same settings below `outputs`.

    Parameters
    ----------
    cells : sequence of Cell
    outputs : Path
        Where runs lie.
    """
    groups: dict[bytes, list[Cell]] = {}
    for cell in {cell.run.fingerprint: cell for cell in cells}.values():
        alike = asked_alike(cell.run) | {
            "name": [cell.run.config[part]["name"] for part in ("task", "model")],
            "baseline": cell.run.config["intervention"].get("baseline"),
        }
        groups.setdefault(canonical(alike), []).append(cell)
    report = Report([], [])
    everything = [cell.run for cell in cells]
    # Groups may share a baseline: what an intervention builds on is mostly the unchanged cell.
    families: dict[str, tuple[Run, list[Run]]] = {}
    for members in groups.values():
        try:
            baseline = (
                _named(members[0].run, everything, outputs)
                or _among(members)
                or finished_before(members[0].run, _pruning(members))
            )
        except BenchError as error:
            report.missing.append(one_line(error))
            continue
        if baseline is None:
            report.missing.append(_how_to_make(members))
            continue
        _, runs_of = families.setdefault(baseline.fingerprint, (baseline, []))
        runs_of += [c.run for c in members if c.run.fingerprint != baseline.fingerprint]
    for baseline, others in families.values():
        if others:
            _compare_group(baseline, sorted(others, key=_order), report)
    adjust(report.families)
    return report


def _compare_group(baseline: Run, others: Sequence[Run], report: Report) -> None:
    """One family; a run that cannot be paired must not take the others with it."""
    refused: list[str] = []
    try:
        family = compare(baseline, others)
    except BenchError:
        fitting, refused = _one_by_one(baseline, others)
        if not fitting:
            report.missing += refused
            return
        family = compare(baseline, fitting)
    family.failed = refused
    report.families.append(family)


def _one_by_one(baseline: Run, candidates: Sequence[Run]) -> tuple[list[Run], list[str]]:
    fitting, refused = [], []
    for run in candidates:
        try:
            compare(baseline, [run])
            fitting.append(run)
        except BenchError as error:
            refused.append(one_line(error))
    return fitting, refused


def _named(run: Run, everything: Sequence[Run], outputs: Path) -> Run | None:
    """The run that an intervention on the reasoning builds on."""
    name = run.config["intervention"].get("baseline")
    if name is None:
        return None
    here = [other for other in everything if other.fingerprint == name]
    return here[0] if here else load(runs.find(str(name), outputs, runs.SCORED))


def _among(members: Sequence[Cell]) -> Run | None:
    """The cell without a change: no intervention and the plainest pruning, else level 0."""
    pruning = _pruning(members)
    for wanted in (_is_none, _is_zero):
        for cell in members:
            config = cell.run.config
            if wanted(config["intervention"]) and canonical(config["pruning"]) == pruning:
                return cell.run
    return None


def _pruning(members: Sequence[Cell]) -> bytes:
    """The pruning of a baseline: the one that all cells share, else none."""
    found = {canonical(cell.run.config["pruning"]): cell.run for cell in members}
    if len(found) == 1:
        return next(iter(found))
    none = [key for key, run in found.items() if run.config["pruning"]["name"] == "none"]
    return none[0] if none else b""


def _is_none(intervention: Mapping[str, Any]) -> bool:
    return str(intervention["name"]) == "none"


def _is_zero(intervention: Mapping[str, Any]) -> bool:
    return any(key in intervention and intervention[key] == v for key, v in _UNCHANGED.items())


def finished_before(run: Run, pruning: bytes) -> Run | None:
    """The newest run without intervention and of the same settings that was finished earlier."""
    beside = run.folder.parent.parent  # <outputs>/<task>/<model>
    found = []
    for path in sorted(beside.glob("*/*/run.json")):
        state = read_json(path) or {}
        config = state.get("config", {})
        if (
            state.get("status") in runs.SCORED
            and _is_none(config["intervention"])
            and (canonical(config["pruning"]) == pruning or not pruning)
        ):
            other = load(path.parent)
            if asked_alike(other) == asked_alike(run):
                found.append(other)
    return max(found, key=lambda other: str(other.state.get("finished")), default=None)


def _how_to_make(members: Sequence[Cell]) -> str:
    cell = members[0]
    kept = [
        word
        for word in cell.overrides
        if not word.lstrip("+~").startswith(("intervention=", "intervention.", "intervention/"))
    ]
    if len({canonical(c.run.config["pruning"]) for c in members}) > 1:
        kept = [w for w in kept if not w.lstrip("+~").startswith(("pruning=", "pruning."))]
    command = " ".join(["python -m lalm_bench", *map(_quoted, kept), "intervention=none"])
    name = f"{cell.run.config['task']['name']} · {cell.run.config['model']['name']}"
    return f"{name}: {len(members)} cells have no baseline; make it: {command}"


def _order(run: Run) -> list[tuple[bool, float, str]]:
    """By intervention, then by rising settings."""
    values = condition(run).values()
    return [
        (isinstance(v, str), 0.0 if isinstance(v, str) or v is None else float(v), str(v))
        for v in values
    ]


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)
