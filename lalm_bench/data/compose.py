"""A task by its name and overrides, composed as a run composes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir

from lalm_bench import cli
from lalm_bench.build import build
from lalm_bench.errors import ConfigError
from lalm_bench.types import Task


def compose_task(name: str, overrides: Sequence[str]) -> tuple[Task, dict[str, Any]]:
    """The task and its resolved settings.

    Parameters
    ----------
    name : str
        A YAML of `conf/task`, without its suffix.
    overrides : sequence of str
        `key=value`, e.g. `task.root=DIR`.

    Raises
    ------
    ConfigError
        No such task or setting; an override is not of the form key=value.
    """
    for word in overrides:
        if "=" not in word:
            raise ConfigError(f"'{word}' is no setting; write key=value, e.g. task.root=DIR")
    # Whoever answers is of no concern here, so the lightest of all.
    light = ["model=random", "tracking=none"]
    with initialize_config_dir(cli.home("conf"), version_base="1.3"):
        config = compose("config", [f"task={name}", *light, *overrides])
    experiment = build(config)
    settings: dict[str, Any] = experiment.config["task"]
    return experiment.task, settings
