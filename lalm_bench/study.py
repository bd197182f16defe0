"""`stage=study`: an ordered list of cells, asked one after another by one resident model.

    python -m lalm_bench experiment=faithfulness task=sakura model=audio_flamingo_3

What the command line says holds for every cell; a cell adds its own overrides, which may sweep.
Each cell is a run like any other: it lies in its own folder, is recognised when it is finished,
and later cells may build on earlier ones. A sweep (`-m`) over studies gives each its own process.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from lalm_bench import audio, provenance
from lalm_bench.build import build
from lalm_bench.cli import explain
from lalm_bench.errors import BenchError, ConfigError, Incomplete, one_line
from lalm_bench.identity import canonical
from lalm_bench.run import run
from lalm_bench.store import write_bytes, write_json
from lalm_bench.types import Json, Model


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
    cells = list(_cells(config))
    if not cells:
        raise ConfigError(
            "study.cells is empty: choose experiment=..., or list the overrides of each cell"
        )
    audio.keep_clips()
    resident = _Resident()
    outcomes = []
    for number, cell in enumerate(cells, 1):
        sys.stdout.write(f"\n[{number}/{len(cells)}] {' '.join(cell.overrides)}\n")
        sys.stdout.flush()
        outcomes.append(_outcome(cell, resident))
    folder = _folder(config)
    _write(config, outcomes, folder)
    sys.stdout.write(f"\nstudy: {folder / 'tables.md'}\n")
    if failed := [outcome for outcome in outcomes if outcome.error]:
        raise Incomplete(
            f"{len(failed)} of {len(cells)} cells have no result, first "
            f"{' '.join(failed[0].overrides)}: {failed[0].error}"
        )
    return str(folder)


def _write(config: DictConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """The cells, their tables, and their paired comparisons with figures."""
    from lalm_bench.compare.sweep import compare_folders, publish
    from lalm_bench.study_tables import markdown

    folder.mkdir(parents=True, exist_ok=True)
    done = [(outcome.folder, outcome.overrides) for outcome in outcomes if outcome.folder]
    report = compare_folders(done, Path(config.paths.outputs))
    publish(report, folder, figures=config.figures)
    name = config.study.name
    title = f"{name} · {config.task.name} · {config.model.name}"
    cells = [
        (" ".join(o.overrides), None if o.folder is None else Path(o.folder), o.error)
        for o in outcomes
    ]
    write_bytes(folder / "tables.md", markdown(title, cells, report).encode())
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


class _Resident:
    """The model of the last cell; another one replaces it, so that two never share a device."""

    def __init__(self) -> None:
        self._key = b""
        self._model: Model | None = None

    def of(self, config: DictConfig) -> Model:
        key = canonical([OmegaConf.to_container(config[n], resolve=True) for n in _MODEL])
        if self._model is None or key != self._key:
            self._model = None  # its memory is free before the next one asks for some
            model: Model = instantiate(config.model, _convert_="all")
            self._model, self._key = model, key
        return self._model


_MODEL = ("model", "runtime")


def _outcome(cell: Cell, resident: _Resident) -> Outcome:
    try:
        return Outcome(cell.overrides, run(cell.config, resident.of(cell.config)))
    except (BenchError, Incomplete) as error:
        sys.stderr.write(f"error: {explain(error)}\n")
        return Outcome(cell.overrides, None, one_line(error))


def _cells(config: DictConfig) -> Iterator[Cell]:
    shared = [o for o in HydraConfig.get().overrides.task if not o.startswith(("stage=", "study."))]
    for node in OmegaConf.to_container(config.study.cells, resolve=True):  # type: ignore[union-attr]
        if not isinstance(node, list) or not all(isinstance(x, str) for x in node):
            raise ConfigError(f"study.cells: {node!r} must be a list of overrides, key=value each")
        for overrides in expand(node):
            composed = compose("config", [*shared, *overrides])
            if "baseline" not in composed.intervention:  # else it builds on a cell before it
                build(composed)
            yield Cell(overrides, composed)


def _folder(config: DictConfig) -> Path:
    """Where the tables of a study lie: by what the command line said."""
    words: list[Any] = [config.study.name, config.task.name, config.model.name]
    return Path(config.paths.multirun, "studies", *map(str, words))
