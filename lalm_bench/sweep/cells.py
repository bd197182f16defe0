"""All cells of a sweep, composed and checked before anything is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import hydra
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lalm_bench import stopping
from lalm_bench.build import Experiment, build
from lalm_bench.cli import STAGES, explain, home
from lalm_bench.errors import BenchError, ConfigError
from lalm_bench.one_model import model_key
from lalm_bench.provenance import public
from lalm_bench.run import is_finished
from lalm_bench.shards import Shard, split
from lalm_bench.sweep.composing import RUN, composing
from lalm_bench.sweep.record import Cell, own_words


def search_path(folders: Sequence[str]) -> list[str]:
    """Overrides by which a cell finds options in folders besides the program's own."""
    if not folders:
        return []
    places = [home("launchers"), *(str(Path(folder).absolute()) for folder in folders)]
    return [f"hydra.searchpath=[{','.join(f'file://{place}' for place in places)}]"]


def check(
    sweep_overrides: Sequence[Sequence[str]], config_name: str, hydra_words: Sequence[str]
) -> list[Cell]:
    """Compose every cell, build it, and recognise what is done already or asked twice.

    The store that the cells are tracked in is made ready on the way, once.

    Raises
    ------
    ConfigError
        A cell is wrong, or an override holds a password; nothing was written.
    """
    cells: list[Cell] = []
    first: dict[tuple[str, Shard | None], int] = {}
    stores: dict[str, Experiment] = {}
    with composing(config_name, hydra_words) as composed:
        for number, words in enumerate(sweep_overrides):
            stopping.check()
            try:
                cell, shard, experiment = _checked(number, words, composed)
            except (BenchError, hydra.errors.HydraException, OmegaConfBaseException) as error:
                where = " ".join(own_words(words, sweep_overrides))
                text = f"cell {number} ({where}): {explain(error)}; nothing was submitted"
                raise ConfigError(public(text)) from error
            if cell.folder is not None and experiment is not None:
                earlier = first.setdefault((cell.folder, shard), number)
                if earlier != number:
                    cell = replace(cell, same_as=earlier)
                stores.setdefault(repr(experiment.config["tracking"]), experiment)
            cells.append(cell)
    for experiment in stores.values():
        experiment.tracking.prepare()
    return cells


def _checked(
    number: int, words: Sequence[str], composed: Callable[[Sequence[str]], DictConfig]
) -> tuple[Cell, Shard | None, Experiment | None]:
    """The cell, the shard that its overrides choose, and what `build` makes of it."""
    for word in words:
        if public(word) != word:
            raise ConfigError(
                f"{public(word)}: a sweep's record is no place for a password; give it in the "
                "environment (for MLflow MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD)"
            )
    config = composed(words)
    stage = str(config.stage)
    if stage != RUN:
        if stage not in STAGES:
            raise ConfigError(f"stage={stage}: there are {', '.join(STAGES)}")
        return Cell(number, tuple(words), stage, None, None, str(number)), None, None
    shards = config.shards
    split_here = type(shards) is int and shards > 1 and config.shard is None
    if split_here:  # each part will name its shard
        config.shard = 0
    experiment, shard = split(build(config))
    cell = Cell(
        number,
        tuple(words),
        stage,
        experiment.fingerprint,
        str(experiment.folder),
        hashlib.blake2b(model_key(config), digest_size=6).hexdigest(),
        shards if split_here else 1,
        finished=is_finished(experiment),
    )
    return cell, None if split_here else shard, experiment
