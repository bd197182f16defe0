"""`stage=study`: an ordered list of cells, asked one after another by one resident model.

    python -m lalm_bench experiment=faithfulness task=sakura model=audio_flamingo_3

What the command line says holds for every cell; a cell adds its own overrides, which may sweep:
`[intervention=mask, "intervention.ratio=0.2,0.4"]`, or `{pruning: [fastv, dart], pruning.ratio:
${study.ratios}}`. `study.each` asks all cells for each of its values, unless the command line
chooses one. Each cell is a run like any other: it lies in its own folder, is recognised when it is
finished, and later cells may build on earlier ones. `study.timing` times them once more, in turns
(see `study_timing`). A sweep (`-m`) over studies gives each its own process.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lalm_bench import audio, provenance
from lalm_bench.build import build
from lalm_bench.cli import explain
from lalm_bench.errors import BenchError, ConfigError, Incomplete, one_line
from lalm_bench.one_model import OneModel, model_key
from lalm_bench.run import run
from lalm_bench.store import write_bytes, write_json
from lalm_bench.types import Json

if TYPE_CHECKING:
    from lalm_bench.study_timing import Turns


# Folder of a run -> its stage times.
Timings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """One run of a study: what sets it apart, and its whole configuration."""

    overrides: tuple[str, ...]
    config: DictConfig


@dataclass
class Outcome:
    """How a cell ended. `folder` is None when it failed; `error` then says why."""

    overrides: tuple[str, ...]
    folder: str | None
    error: str | None = None

    def row(self) -> dict[str, Json]:
        """JSON-able."""
        return {"overrides": list(self.overrides), "folder": self.folder, "error": self.error}


def study(config: DictConfig) -> str:
    """Run every cell, write the study's tables, and return their folder.

    Raises
    ------
    ConfigError
        A cell does not compose, or there is none; nothing was asked.
    Incomplete
        Some cells failed or lack answers; all others were run. The same command continues.
    """
    sys.stdout.write("checking all cells before the first is asked\n")
    sys.stdout.flush()
    if config.judge.name != "none":
        raise ConfigError(
            "a study's runs are judged when they are done: stage=judge judge.runs=[FOLDER, ...]"
        )
    cells = list(_cells(config))
    if not cells:
        raise ConfigError(
            "study.cells is empty: choose experiment=..., or list the overrides of each cell"
        )
    folder = _folder(config, cells)
    turns = _turns(config, folder)
    audio.keep_clips()
    resident = OneModel()
    outcomes = []
    for number, cell in enumerate(cells, 1):
        sys.stdout.write(f"\n[{number}/{len(cells)}] {' '.join(cell.overrides)}\n")
        sys.stdout.flush()
        outcomes.append(_outcome(cell, resident))
    folder.mkdir(parents=True, exist_ok=True)
    timings, untimed = _timings(turns, cells, outcomes, resident)
    _write(config, cells, outcomes, timings, folder)
    sys.stdout.write(f"\nstudy: {folder / 'tables.md'}\n")
    if failed := [outcome for outcome in outcomes if outcome.error]:
        raise Incomplete(
            f"{len(failed)} of {len(cells)} cells have no result, first "
            f"{' '.join(failed[0].overrides)}: {failed[0].error}"
        )
    if untimed:
        raise Incomplete(f"not timed: {'; '.join(untimed)}")
    return str(folder)


def _turns(config: DictConfig, folder: Path) -> Turns | None:
    wanted = config.study.get("timing")
    if wanted is None:
        return None
    from lalm_bench.study_timing import Turns

    settings: dict[str, Any] = OmegaConf.to_container(wanted, resolve=True)  # type: ignore[assignment]
    known = Turns.__dataclass_fields__.keys() - {"folder"}
    if unknown := settings.keys() - known:
        raise ConfigError(
            f"study.timing.{min(unknown)}: no such setting; there are {', '.join(sorted(known))}"
        )
    return Turns(folder, **settings)


def _timings(
    turns: Turns | None, cells: Sequence[Cell], outcomes: Sequence[Outcome], resident: OneModel
) -> tuple[Timings, list[str]]:
    """Stage times of the cells that have a result, by their folders; and what failed."""
    if turns is None:
        return {}, []
    groups: dict[tuple[str, bytes], list[tuple[str, DictConfig]]] = {}
    for cell, outcome in zip(cells, outcomes, strict=True):
        if outcome.folder is not None:
            # Decided when a network is loaded: nothing may be heard or read only once here.
            changes = {"runtime": {"reuse_audio": False, "audio_cache": None}}
            timed: Any = OmegaConf.merge(cell.config, changes)
            key = (str(timed.task.name), model_key(timed))
            groups.setdefault(key, []).append((outcome.folder, timed))
    found: dict[str, Mapping[str, Any]] = {}
    failed = []
    tasks = [task for task, _ in groups]
    for number, group in enumerate(groups.values()):
        name, earlier = tasks[number], tasks[:number].count(tasks[number])
        name += f"_{earlier + 1}" if earlier else ""  # the same task asked of another model
        try:
            found |= turns.of(name, group, resident.of)
        except (BenchError, Incomplete) as error:
            sys.stderr.write(f"not timed: {name}: {explain(error)}\n")
            failed.append(f"{name}: {one_line(error)}")
    return found, failed


def _write(
    config: DictConfig,
    cells: Sequence[Cell],
    outcomes: Sequence[Outcome],
    timings: Timings,
    folder: Path,
) -> None:
    """The cells, their tables, and their paired comparisons with figures."""
    from lalm_bench import tradeoff
    from lalm_bench.compare.sweep import compare_folders, publish
    from lalm_bench.study_tables import markdown

    done = [(outcome.folder, outcome.overrides) for outcome in outcomes if outcome.folder]
    report = compare_folders(done, Path(config.paths.outputs))
    publish(report, folder, figures=config.figures)
    name = config.study.name
    title = f"{name} · {', '.join(_tasks(cells))} · {config.model.name}"
    sections = [
        (" ".join(o.overrides), None if o.folder is None else Path(o.folder), o.error)
        for o in outcomes
    ]
    write_bytes(folder / "tables.md", markdown(title, sections, report).encode())
    if any(cell.config.pruning.name != "none" for cell in cells):
        finished = [Path(f) for f, _ in done]
        tradeoff.write(folder, title, finished, report, timings, figures=config.figures)
        sys.stdout.write(f"pruning: {folder / 'pruning.md'}\n")
    record = {"name": name, "finished": provenance.now(), "cells": [o.row() for o in outcomes]}
    write_json(folder / "study.json", record)


def expand(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination of an override list's comma-separated values, the last one fastest.

    Examples
    --------
    >>> expand(["intervention=mask", "seed=1,2"])
    [('intervention=mask', 'seed=1'), ('intervention=mask', 'seed=2')]
    """
    values = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.is_sweep_override():
            key = override.get_key_element()
            values.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            values.append([str(override.input_line)])
    return list(itertools.product(*values))


def combinations(settings: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Overrides for every combination of the values of `settings`, the last one fastest.

    Examples
    --------
    >>> combinations({"pruning": "fastv", "pruning.ratio": [0.1, 0.5]})
    [('pruning=fastv', 'pruning.ratio=0.1'), ('pruning=fastv', 'pruning.ratio=0.5')]
    """
    words = []
    for key, value in settings.items():
        values = value if isinstance(value, list) else [value]
        words.append([f"{key}={_PLAIN.get(str(v), v)}" for v in values])
    return list(itertools.product(*words))


# How Hydra writes what Python writes otherwise.
_PLAIN = {"True": "true", "False": "false", "None": "null"}


def _outcome(cell: Cell, resident: OneModel) -> Outcome:
    try:
        return Outcome(cell.overrides, run(cell.config, resident.of(cell.config)))
    except (BenchError, Incomplete) as error:
        sys.stderr.write(f"error: {explain(error)}\n")
        return Outcome(cell.overrides, None, one_line(error))


def _cells(config: DictConfig) -> Iterator[Cell]:
    shared = [o for o in HydraConfig.get().overrides.task if not o.startswith(("stage=", "study."))]
    chosen = {o.get_key_element() for o in OverridesParser.create().parse_overrides(shared)}
    settings: Any = OmegaConf.to_container(config.study, resolve=True)
    each = {k: v for k, v in (settings.get("each") or {}).items() if k not in chosen}
    for common in combinations(each):
        for node in settings["cells"]:
            for own in _of_node(node):
                overrides = (*common, *own)
                composed = compose("config", [*shared, *overrides])
                if "baseline" not in composed.intervention:  # else it builds on a cell before it
                    build(composed)
                yield Cell(overrides, composed)


def _of_node(node: Any) -> list[tuple[str, ...]]:
    if isinstance(node, dict):
        return combinations(node)
    if isinstance(node, list) and all(isinstance(x, str) for x in node):
        return expand(node)
    raise ConfigError(
        f"study.cells: {node!r} must be a list of overrides, key=value each, or a mapping of "
        "settings to a value or a list of values"
    )


def _tasks(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(str(cell.config.task.name) for cell in cells))


def _folder(config: DictConfig, cells: Sequence[Cell]) -> Path:
    """Where the tables of a study lie: by what the command line said."""
    words: list[Any] = [config.study.name, "+".join(_tasks(cells))[:120], config.model.name]
    return Path(config.paths.multirun, "studies", *map(str, words))
