"""Stage times of a study's cells: the same items under all conditions, in turns.

Runs that answer a whole task one after another do not compare: a machine drifts, caches fill, and
encoded audio is used again. So a few items are asked once more, one at a time and nothing kept; in
each round all cells follow each other on an item, each round begins with another cell, and the
first rounds are discarded. Speed-ups are those of neighbours, paired by item and round.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lalm_bench import provenance
from lalm_bench.build import CONTINUE, Experiment, build
from lalm_bench.errors import ConfigError, Incomplete
from lalm_bench.identity import Sealer, canonical
from lalm_bench.preflight import Plan, select
from lalm_bench.store import read_json, write_json
from lalm_bench.types import Context, Model, Request

# Cells as (folder of the run, configuration).
Group = Sequence[tuple[str, DictConfig]]
# Configuration -> its model, perhaps loaded already.
Models = Callable[[DictConfig], Model]
STAGES = ("encoder", "prefill", "decode")
TOTAL = "total"
_USAGE = ("input_tokens", "output_tokens", "audio_tokens", "audio_tokens_kept", "audio_s")


@dataclass(frozen=True)
class Turns:
    """How cells are timed.

    Parameters
    ----------
    folder : Path
        The study's; `timing/<name>.json` below it holds every single time.
    items : int
        A seeded sample of this size.
    warmup, repeats : int
        Rounds that are discarded, and rounds that count.

    Raises
    ------
    ConfigError
        A number is not positive (`warmup` may be 0).
    """

    folder: Path
    items: int = 4
    warmup: int = 3
    repeats: int = 5

    def __post_init__(self) -> None:
        for name, least in (("items", 1), ("warmup", 0), ("repeats", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"study.timing.{name}={value!r} must be a whole number, {least} or more"
                )

    def of(self, name: str, group: Group, models: Models) -> dict[str, dict[str, Any]]:
        """Folder -> what `summaries` says of the cell; measured once, then read.

        Parameters
        ----------
        name : str
            Of the file.
        group : sequence of (folder, configuration)
            Cells of one task and one model.
        models : callable

        Raises
        ------
        Incomplete
            An item could not be answered.
        """
        experiments = [build(config) for _, config in group]
        made_for = {
            "cells": [e.fingerprint for e in experiments],
            "settings": [self.items, self.warmup, self.repeats],
            "machine": _machine(),
        }
        file = self.folder / "timing" / f"{name}.json"
        stored = read_json(file) or {}
        if canonical(stored.get("made_for")) != canonical(made_for):
            stored = {"made_for": made_for, **self._measure(name, group, models)}
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, stored)
        return {
            folder: stored["cells"][e.fingerprint]
            for (folder, _), e in zip(group, experiments, strict=True)
        }

    def _measure(self, name: str, group: Group, models: Models) -> dict[str, Any]:
        model = models(group[0][1])
        experiments = [build(config, model) for _, config in group]
        model.load(experiments[0].runtime)
        asked = [_requests(experiment, self.items) for experiment in experiments]
        rounds = self.warmup + self.repeats
        sys.stdout.write(
            f"timing {name}: {len(group)} cells x {len(asked[0])} items x {rounds} rounds\n"
        )
        sys.stdout.flush()
        times: list[dict[str, Any]] = []
        for number in range(rounds):
            first = number % len(group)
            order = [*range(first, len(group)), *range(first)]
            for item in range(len(asked[0])):
                for place in order:
                    found = _timed(experiments[place], asked[place][item])
                    if number >= self.warmup:
                        times.append({"round": number - self.warmup, **found})
        return {"cells": summaries(experiments, times), "times": times}


def summaries(
    experiments: Sequence[Experiment], times: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Fingerprint -> median and p90 of each stage (ms), paired speed-ups, and memory.

    `speedup_*` is the median over items and rounds of the unpruned time over the cell's own;
    `theory` is how many times fewer operations the prefill needs, a mean over items.
    """
    plain = [e.fingerprint for e in experiments if e.config["pruning"]["name"] == "none"]
    by_cell: dict[str, dict[Any, Mapping[str, Any]]] = {e.fingerprint: {} for e in experiments}
    for row in times:
        by_cell[row["cell"]][row["item"], row["round"]] = row
    baseline = by_cell[plain[0]] if plain else {}
    return {
        experiment.fingerprint: _summary(experiment, by_cell[experiment.fingerprint], baseline)
        for experiment in experiments
    }


def _summary(
    experiment: Experiment,
    rows: Mapping[Any, Mapping[str, Any]],
    baseline: Mapping[Any, Mapping[str, Any]],
) -> dict[str, Any]:
    import numpy as np

    found: dict[str, Any] = {"n": len(rows), "items": len({item for item, _ in rows})}
    for stage in (*STAGES, TOTAL):
        spent = [1000 * row[stage] for row in rows.values()]
        found[f"{stage}_ms"] = statistics.median(spent)
        found[f"{stage}_p90_ms"] = float(np.quantile(spent, 0.9))
        pairs = [(baseline[key][stage], row[stage]) for key, row in rows.items() if key in baseline]
        ratios = [before / after for before, after in pairs if after]
        found[f"speedup_{stage}"] = statistics.median(ratios) if ratios else None
    theory = _theory(experiment, rows.values())
    found["theory"] = None if None in theory else statistics.mean(theory)  # type: ignore[type-var]
    steps = [(row["output_tokens"] - 1, row["decode"]) for row in rows.values()]
    rates = [written / spent for written, spent in steps if written > 0 and spent]
    found["tokens_per_s"] = statistics.median(rates) if rates else None
    heard = [row[TOTAL] / row["audio_s"] for row in rows.values() if row["audio_s"]]
    found["real_time_factor"] = statistics.median(heard) if heard else None
    peaks = [row["peak_bytes"] for row in rows.values() if row["peak_bytes"] is not None]
    found["peak_bytes"] = max(peaks) if peaks else None
    return found


def _theory(
    experiment: Experiment, rows: Sequence[Mapping[str, Any]] | Any
) -> list[float] | list[None]:
    """How many times fewer operations each prefill needs; None where nothing was counted."""
    network = getattr(experiment.model, "network", None)
    if network is None:
        return [None]
    if getattr(experiment.pruning, "kind", None) != "prefill":
        return [1.0]
    from lalm_bench.pruning.flops import Prefill

    cost, layer = Prefill.of(network), experiment.config["pruning"]["layer"]
    return [
        cost.speedup(row["input_tokens"], row["audio_tokens"], row["audio_tokens_kept"], layer)
        for row in rows
    ]


def _requests(experiment: Experiment, items: int) -> list[Request]:
    """First requests of a seeded sample, as a run would ask them."""
    model, seed = experiment.model, experiment.seed
    samples = select(experiment.task.samples(), min(items, experiment.limit or items), seed)
    pruning = experiment.config["pruning"]
    plan = Plan(
        samples,
        experiment.task,
        experiment.intervention,
        experiment.generation,
        Sealer(model.identity(), pruning, model.rate, model.stochastic, seed),
        Context(seed, samples),
        hears=model.rate is not None,
        on_error=CONTINUE,
    )
    plan.check()
    return [request for _, request in plan.requests()]


def _timed(experiment: Experiment, request: Request) -> dict[str, Any]:
    """One request, alone."""
    model = experiment.model
    peak = _peak()
    with experiment.pruning(model):
        (response,) = model.answer([request])
    if response.finish == "error":
        raise Incomplete(
            f"item '{request.sample_id}' under {experiment.condition}: {response.error}; nothing "
            "of this task was timed, the same command tries again"
        )
    timing, usage = response.timing or {}, response.usage or {}
    stages = {stage: timing.get(f"{stage}_s", 0.0) for stage in STAGES}
    facts: dict[str, Any] = {name: usage.get(name, 0) for name in _USAGE}
    facts["audio_tokens_kept"] = usage.get("audio_tokens_kept", facts["audio_tokens"])
    return {
        "cell": experiment.fingerprint,
        "item": f"{request.sample_id}/{request.variant}",
        **stages,
        TOTAL: sum(stages.values()),
        **facts,
        "peak_bytes": peak(),
    }


def _peak() -> Callable[[], int | None]:
    """Starts to watch the memory of the GPU; the result says how much was taken at most, bytes."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return lambda: None
    torch.cuda.reset_peak_memory_stats()
    return lambda: int(torch.cuda.max_memory_allocated())


def _machine() -> dict[str, Any]:
    import torch

    on_gpu = torch.cuda.is_available()
    gpu = torch.cuda.get_device_name() if on_gpu else None
    return {"gpu": gpu, **provenance.versions()}
