"""From a composed configuration to the objects of a run. `_target_` is the only registry."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from lalm_bench.capture.base import Capture
from lalm_bench.capture.none import NoCapture
from lalm_bench.cli import home
from lalm_bench.errors import BenchError, ConfigError, DataError, one_line
from lalm_bench.identity import fingerprint
from lalm_bench.provenance import demand_secrets_apart, public
from lalm_bench.runs import find
from lalm_bench.tracking.base import Tracking
from lalm_bench.types import MODES, Generation, Intervention, Judge, Model, Pruning, Runtime, Task

# What an item that cannot be asked does to its run.
STOP, CONTINUE = "stop", "continue"
# The baseline that is found by settings.
AUTO = "auto"


@dataclass(frozen=True)
class Experiment:
    """Everything one run needs, still light: no weights, no data."""

    config: dict[str, Any]
    task: Task
    model: Model
    intervention: Intervention
    pruning: Pruning
    judge: Judge
    capture: Capture
    tracking: Tracking
    generation: Generation
    runtime: Runtime
    seed: int
    limit: int | None
    fingerprint: str
    folder: Path

    def inputs(self) -> list[Path]:
        """Files whose content determines what is asked."""
        return [*self.task.inputs(), *_inputs(self.intervention)]

    def watched(self) -> list[Path]:
        """Files that a stored result depends on: `inputs`, and what a baseline decided."""
        parts = [self.intervention, *getattr(self.intervention, "steps", {}).values()]
        built_on = [part.baseline for part in parts if hasattr(part, "baseline")]
        return [*self.inputs(), *[Path(folder, "decisions.jsonl") for folder in built_on]]

    @property
    def condition(self) -> str:
        """Name of the intervention and pruning, with their scalar settings."""
        return _condition(self.config)


def build(config: DictConfig, model: Model | None = None) -> Experiment:
    """Instantiate the groups and check the plain settings.

    Parameters
    ----------
    config : DictConfig
    model : Model, optional
        Built from an equal `config.model` and perhaps loaded already.

    Raises
    ------
    ConfigError
        A setting is missing, of the wrong type, or out of range.
    DataError
        An intervention builds on a run that is not there, or not finished.
    """
    demand_secrets_apart(OmegaConf.to_container(config))  # type: ignore[arg-type]
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
    groups = ("task", "model", "pruning", "judge", "tracking")
    parts = {group: _instantiate(config, group) for group in groups}
    if model is not None:
        parts["model"] = model
    # Configurations of earlier runs lack the group.
    parts["capture"] = _instantiate(config, "capture") if "capture" in config else NoCapture()
    parts["capture"].check(parts["model"], parts["pruning"])
    config = config.copy()
    builders = (_building_on(config.intervention), _building_on(resolved["intervention"]))
    for node, recorded in zip(*builders, strict=True):
        baseline = _baseline(resolved, node, parts["task"].inputs())
        node["baseline"] = str(baseline)
        recorded["baseline"] = baseline.name  # a fingerprint, wherever the run lies
    parts["intervention"] = _instantiate(config, "intervention")
    inputs = [*parts["task"].inputs(), *_inputs(parts["intervention"])]
    name, folder = _identify(resolved, inputs)
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


def unchanged(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings without intervention: what a changed run is compared with."""
    node = OmegaConf.to_container(OmegaConf.load(Path(home("conf"), "intervention", "none.yaml")))
    return {**config, "intervention": node}


def _building_on(node: Any) -> Iterator[Any]:
    """The parts of an intervention that build on another run: itself, or steps of a chain."""
    if "baseline" in node:
        yield node
    for step in (node.get("steps") or {}).values():
        yield from _building_on(step)


def _baseline(config: dict[str, Any], node: Any, inputs: Sequence[Path]) -> Path:
    """Folder of the run that an intervention on the reasoning builds on."""
    name = str(node["baseline"])
    if name != AUTO:
        return find(name, config["paths"]["outputs"])
    folder = _identify(unchanged(config), inputs)[1]
    if not (folder / "run.json").is_file():
        raise DataError(
            f"intervention={node['name']} builds on the same run without it, "
            "which is not there: run this command with intervention=none first, or name another "
            "run, intervention.baseline=FOLDER"
        )
    return find(str(folder), config["paths"]["outputs"])


def _inputs(intervention: Any) -> list[Path]:
    return list(intervention.inputs()) if hasattr(intervention, "inputs") else []


def _identify(config: dict[str, Any], inputs: Sequence[Path]) -> tuple[str, Path]:
    """Fingerprint and folder of a run."""
    name = fingerprint(config, inputs)
    words = (config["task"]["name"], config["model"]["name"], _condition(config))
    return name, Path(config["paths"]["outputs"], *map(_slug, words), name)


def _instantiate(config: DictConfig, group: str) -> Any:
    try:
        return instantiate(config[group], _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, BenchError):
            raise cause from None
        if missing := re.search(r"unexpected keyword argument '(protocol|recover)'", str(cause)):
            raise ConfigError(
                f"task={config.task.name} has no options to choose from: set "
                f"{missing.group(1)}=none"
            ) from error
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
    """How it is asked, where that is not the task's own way, and what is changed."""
    protocol = config["task"].get("protocol")
    words = [str(protocol["name"])] if protocol else []
    for group in ("intervention", "pruning"):
        if config[group]["name"] != "none":
            words.append(_named(group, config[group]))
    return "+".join(words) or "baseline"


def _named(group: str, node: Mapping[str, Any]) -> str:
    """Name, first setting, all others that are not as shipped, and the steps of a chain."""
    settings = [(k, v) for k, v in node.items() if k not in ("name", "_target_", "baseline")]
    shipped = _shipped(group, node["name"])
    words = [str(node["name"])]
    for place, (key, value) in enumerate(settings):
        if isinstance(value, bool | int | float | str):
            usual = shipped.get(key, ...)
            follows = isinstance(usual, str) and "${" in usual  # another setting, e.g. the seed
            if place == 0 or (usual != value and not follows):
                words.append(f"{key}={value}")
        elif key == "steps" and isinstance(value, Mapping):
            words += [_named(group, value[step]) for step in sorted(value)]
    return "_".join(words)


def _shipped(group: str, name: str) -> dict[str, Any]:
    """Settings of a group's option as its YAML has them; nothing where it has none."""
    file = Path(home("conf"), group, f"{name}.yaml")
    if not file.is_file():
        return {}
    return {str(k): v for k, v in OmegaConf.load(file).items_ex(resolve=False)}


def _slug(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._=+-" else "-" for c in str(text))
    return kept.strip(".")[:120] or "unnamed"


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)
