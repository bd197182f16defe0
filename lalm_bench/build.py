"""From a composed configuration to the objects of a run. `_target_` is the only registry."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from lalm_bench.errors import BenchError, ConfigError, one_line
from lalm_bench.identity import fingerprint
from lalm_bench.provenance import public
from lalm_bench.tracking.base import Tracking
from lalm_bench.types import MODES, Generation, Intervention, Judge, Model, Pruning, Runtime, Task

# What an item that cannot be asked does to its run.
STOP, CONTINUE = "stop", "continue"


@dataclass(frozen=True)
class Experiment:
    """Everything one run needs, still light: no weights, no data."""

    config: dict[str, Any]
    task: Task
    model: Model
    intervention: Intervention
    pruning: Pruning
    judge: Judge
    tracking: Tracking
    generation: Generation
    runtime: Runtime
    seed: int
    limit: int | None
    fingerprint: str
    folder: Path

    @property
    def condition(self) -> str:
        """Name of the intervention and pruning, with their scalar settings."""
        return _condition(self.config)


def build(config: DictConfig) -> Experiment:
    """Instantiate the groups and check the plain settings.

    Raises
    ------
    ConfigError
        A setting is missing, of the wrong type, or out of range.
    """
    try:
        resolved: dict[str, Any] = OmegaConf.to_container(  # type: ignore[assignment]
            config, resolve=True, throw_on_missing=True
        )
    except MissingMandatoryValue as error:
        key = str(error.full_key)
        raise ConfigError(f"{key} must be set: add {key}=VALUE to the command") from error
    resolved = public(resolved)  # it is written to files; the objects get the real values
    _demand(
        resolved["on_error"] in (STOP, CONTINUE),
        f"on_error={resolved['on_error']!r} must be {CONTINUE} or {STOP}",
    )
    generation = _generation(resolved["generation"])
    runtime = _runtime(resolved["runtime"])
    seed, limit = resolved["seed"], resolved["limit"]
    _demand(isinstance(seed, int), f"seed={seed!r} must be a whole number")
    _demand(
        limit is None or (isinstance(limit, int) and limit > 0),
        f"limit={limit!r} must be a positive whole number, or null for all items",
    )
    groups = ("task", "model", "intervention", "pruning", "judge", "tracking")
    parts = {group: _instantiate(config, group) for group in groups}
    name = fingerprint(resolved, parts["task"].inputs())
    folder = Path(
        resolved["paths"]["outputs"],
        _slug(resolved["task"]["name"]),
        _slug(resolved["model"]["name"]),
        _slug(_condition(resolved)),
        name,
    )
    return Experiment(
        resolved,
        **parts,
        generation=generation,
        runtime=runtime,
        seed=seed,
        limit=limit,
        fingerprint=name,
        folder=folder,
    )


def _instantiate(config: DictConfig, group: str) -> Any:
    try:
        return instantiate(config[group], _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, BenchError):
            raise cause from None
        if isinstance(cause, TypeError | ValueError | ImportError):
            raise ConfigError(f"{group}: {one_line(cause)}; see --cfg job") from error
        raise


def _generation(values: dict[str, Any]) -> Generation:
    mode, tokens = values["mode"], values["max_new_tokens"]
    temperature, top_p = values["temperature"], values["top_p"]
    _demand(mode in MODES, f"generation.mode={mode!r} must be one of {', '.join(MODES)}")
    _demand(
        isinstance(tokens, int) and tokens > 0,
        f"generation.max_new_tokens={tokens!r} must be a positive whole number",
    )
    _demand(
        isinstance(temperature, int | float) and temperature >= 0,
        f"generation.temperature={temperature!r} must be 0 or more",
    )
    _demand(
        isinstance(top_p, int | float) and 0 < top_p <= 1,
        f"generation.top_p={top_p!r} must lie in (0, 1]",
    )
    return Generation(tokens, float(temperature), float(top_p), mode)


def _runtime(values: dict[str, Any]) -> Runtime:
    unknown = values.keys() - Runtime.__dataclass_fields__.keys()
    _demand(not unknown, f"runtime.{', runtime.'.join(sorted(unknown))}: no such setting")
    workers = values["workers"]
    if workers is None:
        # One core stays with the thread that drives the model. More than four threads take the
        # interpreter from it more often than they save it from waiting.
        workers = min(max(_cores() - 1, 1), 4)
    settings = Runtime(**{**values, "workers": workers})
    for name in ("batch_size", "workers", "batch_tokens"):
        value = getattr(settings, name)
        _demand(
            (isinstance(value, int) and value > 0) or (value is None and name == "batch_tokens"),
            f"runtime.{name}={value!r} must be a positive whole number",
        )
    gigabytes = settings.audio_cache_gb
    _demand(
        isinstance(gigabytes, int | float) and gigabytes >= 0,
        f"runtime.audio_cache_gb={gigabytes!r} must be 0 or more",
    )
    return settings


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # what a SLURM job was given, not what the node has
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _condition(config: dict[str, Any]) -> str:
    words = []
    for group in ("intervention", "pruning"):
        node = config[group]
        if node["name"] == "none":
            continue
        settings = [
            f"{key}={value}"
            for key, value in node.items()
            if key not in ("name", "_target_") and isinstance(value, bool | int | float | str)
        ]
        words.append("_".join([node["name"], *settings]))
    return "+".join(words) or "baseline"


def _slug(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._=+-" else "-" for c in str(text))
    return kept.strip(".")[:120] or "unnamed"


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)
