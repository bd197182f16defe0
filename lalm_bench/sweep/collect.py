"""What a sweep found: its table, the paired comparisons, and the figures, in its own folder."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lalm_bench.errors import Incomplete
from lalm_bench.report.table import number
from lalm_bench.store import read_json, write_bytes
from lalm_bench.sweep.record import Cell, Sweep
from lalm_bench.sweep.states import DONE, INCOMPLETE, State, look
from lalm_bench.tracking.record import Record
from lalm_bench.types import Json

TABLE = "table"
_ALWAYS = ("n", "n_errors", "n_skipped")
# Of a headline metric, in the order of preference.
_INTERVALS = ("_cluster", "_bootstrap", "", "_wilson")


def collect(sweep: Sweep, states: Sequence[State]) -> Sequence[State]:
    """Write `table.{csv,md}`, the paired results and the figures; return the states after it.

    Shards that nobody merged are merged first.

    A cell that has no result keeps its row, which then says its state. Nothing in the tables tells
    how the results came about, so a sweep that was killed and resumed gives the same ones.
    """
    if any(_merge(sweep, state) for state in states):
        states = look(sweep)
    rows = [_row(sweep, state) for state in states if state.cell.stage == "run"]
    if not rows:
        return states
    folder = sweep.folder
    files = [folder / f"{TABLE}.csv", folder / f"{TABLE}.md"]
    write_bytes(files[0], _csv(rows).encode())
    write_bytes(files[1], _markdown(sweep.name, rows).encode())
    sys.stdout.write(f"table: {files[1]}\n")
    _compare(sweep, states, rows)
    _track(sweep, states)
    sys.stdout.write(f"to look and listen: python -m lalm_bench.report {folder}\n")
    return states


def _track(sweep: Sweep, states: Sequence[State]) -> None:
    """See to it that the tracker has all cells, those that were finished before as well."""
    stores: dict[str, tuple[Any, list[Path]]] = {}
    for state in states:
        folder = sweep.run_folder(state.cell)
        record = None if folder is None else Record.read(folder)
        if folder is not None and record is not None and (store := record.tracking()) is not None:
            if hasattr(store, "sweep"):
                store = replace(store, sweep=sweep.name)  # type: ignore[type-var]
            stores.setdefault(repr(store), (store, []))[1].append(folder)
    for store, folders in stores.values():
        store.complete(folders)


def _merge(sweep: Sweep, state: State) -> bool:
    """Score a cell whose shards were all asked while none of them could; asks nothing."""
    cell, parts = state.cell, state.cell.parts
    if cell.shards == 1 or state.word != INCOMPLETE:
        return False
    if any(sweep.note(part).get("state") not in (DONE, INCOMPLETE) for part in parts):
        return False
    from lalm_bench.run import merge
    from lalm_bench.sweep.composing import composing

    with composing(sweep.config_name, sweep.hydra) as composed, suppress(Incomplete):
        merge(composed((*cell.overrides, "shard=0")))
    return True


def _compare(sweep: Sweep, states: Sequence[State], rows: Sequence[dict[str, Json]]) -> None:
    """Each cell against its own baseline; where there is none, its values alone as a figure."""
    from lalm_bench.compare.sweep import compare_folders, publish

    scored = [
        (folder, sweep.settings(state.cell))
        for state in states
        if state.word in (DONE, INCOMPLETE)
        and state.cell.same_as is None
        and (folder := sweep.run_folder(state.cell)) is not None
    ]
    if len(scored) < 2:
        return
    report = compare_folders(scored, Path(sweep.cwd, sweep.outputs))
    publish(report, sweep.folder, figures=sweep.figures)
    if sweep.figures and not any(family.curves for family in report.families):
        from lalm_bench.sweep.figure import draw

        for file in draw(sweep.folder, rows, swept(sweep)):
            sys.stdout.write(f"figure: {file}\n")


def swept(sweep: Sweep) -> list[str]:
    """Names of the settings in which cells differ."""
    names = [word.partition("=")[0].lstrip("+") for c in sweep.cells for word in sweep.settings(c)]
    return list(dict.fromkeys(names))


def _row(sweep: Sweep, state: State) -> dict[str, Json]:
    """Number, state, settings, and what the task shows first."""
    cell = state.cell
    row: dict[str, Json] = {"cell": cell.number, "state": state.word}
    row |= _settings(sweep, cell)
    folder = sweep.run_folder(cell)
    if folder is None or state.word not in (DONE, INCOMPLETE):
        return row
    stored = read_json(folder / "metrics.json") or {}
    values: dict[str, Any] = stored.get("metrics", {})
    row |= {name: values[name] for name in _ALWAYS if name in values}
    headline = stored.get("headline") or ["accuracy"]
    for name in headline:
        row[name] = values.get(name)
        for kind in _INTERVALS:
            if f"{name}{kind}_low" in values:
                row[f"{name}_low"] = values[f"{name}{kind}_low"]
                row[f"{name}_high"] = values[f"{name}{kind}_high"]
                break
    row |= {name: values[name] for name in ("chance", "invalid_rate") if name in values}
    row["fingerprint"] = cell.fingerprint
    return row


def _settings(sweep: Sweep, cell: Cell) -> dict[str, Json]:
    """The cell's own settings, by name."""
    words = [word.lstrip("+").partition("=") for word in sweep.settings(cell)]
    return {name: value for name, _, value in words}


def _columns(rows: Sequence[dict[str, Json]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: Sequence[dict[str, Json]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return out.getvalue()


def _markdown(name: str, rows: Sequence[dict[str, Json]]) -> str:
    columns = _columns(rows)
    cells = [[number(row.get(column)) for column in columns] for row in rows]
    lines = [
        f"# {name}",
        "",
        "Intervals: cluster-robust where a task has clusters, else bootstrap or Wilson.",
        "",
        "| " + " | ".join(columns) + " |",
        "|---" * len(columns) + "|",
        *("| " + " | ".join(_escaped(text) for text in row) + " |" for row in cells),
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
