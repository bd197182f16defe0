"""What `hydra.launcher` says: which jobs are asked of the cluster, and how cells are packed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lalm_bench.errors import ConfigError
from lalm_bench.types import Json

NONE, BY_MODEL = "none", "by_model"
_MOST_DELAY_S = 120
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
# What SLURM knows by the same name.
_AS_NAMED = (
    *("partition", "account", "qos", "constraint", "nodelist", "exclude", "gres"),
    *("gpus_per_node", "cpus_per_task", "array_parallelism"),
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`launchers/hydra/launcher/slurm.yaml` explains each of them.

    Raises
    ------
    ConfigError
        A value is of the wrong kind or out of range.
    """

    name: str = "lalm_bench"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    gres: str | None = None
    gpus_per_node: int | None = 1
    cpus_per_task: int = 8
    mem_gb: float | None = 64
    timeout_min: int = 720
    signal_delay_s: int | None = None
    max_num_timeout: int = 20
    array_parallelism: int = 32
    pack: str = NONE
    jobs: int | None = None
    modules: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    python: str | None = None
    srun: list[str] = field(default_factory=list)
    sbatch: dict[str, Json] = field(default_factory=dict)
    poll_s: float = 5.0
    wait: bool = True

    def __post_init__(self) -> None:
        for name in ("cpus_per_task", "timeout_min", "array_parallelism"):
            self._demand(name, _whole(getattr(self, name)), "must be a positive whole number")
        for name in ("gpus_per_node", "jobs", "signal_delay_s"):
            value = getattr(self, name)
            fits = value is None or _whole(value)
            self._demand(name, fits, "must be a positive whole number, or null")
        self._demand("max_num_timeout", _whole(self.max_num_timeout, 0), "must be 0 or more")
        self._demand("poll_s", _number(self.poll_s) and self.poll_s >= 1, "must be 1 or more")
        fits = self.mem_gb is None or (_number(self.mem_gb) and self.mem_gb > 0)
        self._demand("mem_gb", fits, "must be a positive number, or null")
        self._demand("pack", self.pack in (NONE, BY_MODEL), f"must be {NONE} or {BY_MODEL}")
        if self.jobs is not None and self.pack == NONE:
            raise ConfigError(
                f"hydra.launcher.jobs={self.jobs} needs hydra.launcher.pack={BY_MODEL}; to bound "
                "how many run at a time set hydra.launcher.array_parallelism"
            )
        for name in ("modules", "setup", "srun"):
            value = getattr(self, name)
            fits = isinstance(value, list) and all(isinstance(word, str) for word in value)
            self._demand(name, fits, "must be a list of texts")
        for name in ("env", "sbatch"):
            self._demand(name, isinstance(getattr(self, name), dict), "must be a mapping")
        for name in self.env:
            if _SECRET.search(name):
                raise ConfigError(
                    f"hydra.launcher.env.{name} looks like a secret, and would be written into "
                    "the batch script: export it in your shell, which sbatch hands on to the jobs"
                )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """From a mapping; unknown names are a ConfigError."""
        known = [f.name for f in fields(cls)]
        if unknown := values.keys() - set(known):
            raise ConfigError(
                f"hydra.launcher.{min(unknown)}: no such setting; there are {', '.join(known)}"
            )
        return cls(**values)

    def _demand(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise ConfigError(f"hydra.launcher.{name}={getattr(self, name)!r} {rule}")

    def json(self) -> dict[str, Json]:
        """For the sweep's record."""
        return asdict(self)

    @property
    def delay_s(self) -> int:
        """Seconds before the time limit at which a job is told to stop.

        With submitit's fixed delay a job of two minutes would be told at its very start.
        """
        if self.signal_delay_s is not None:
            return self.signal_delay_s
        return min(_MOST_DELAY_S, self.timeout_min * 60 // 4)

    def executor_parameters(self, job_name: str) -> dict[str, Any]:
        """What submitit's `update_parameters` takes."""
        named = {name: getattr(self, name) for name in _AS_NAMED}
        return {
            **{name: value for name, value in named.items() if value is not None},
            **({} if self.mem_gb is None else {"mem": f"{round(self.mem_gb * 1024)}MB"}),
            "time": self.timeout_min,
            "job_name": job_name,
            "nodes": 1,
            "ntasks_per_node": 1,
            "signal_delay_s": self.delay_s,
            "stderr_to_stdout": True,
            "setup": self._setup(),
            "srun_args": list(self.srun),
            # A cluster may forbid requeueing by default, and preemption would then end a job.
            "additional_parameters": {"requeue": True, **self.sbatch},
        }

    def _setup(self) -> list[str]:
        """Lines of the batch script before Python starts."""
        lines = [f"module load {shlex.quote(name)} || exit 1" for name in self.modules]
        lines += [f"export {name}={shlex.quote(str(value))}" for name, value in self.env.items()]
        return lines + list(self.setup)


def _whole(value: Any, least: int = 1) -> bool:
    return type(value) is int and value >= least


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
