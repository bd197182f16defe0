"""hydra/launcher=local_gpus: the cells of a sweep on the devices of one machine.

Hydra takes launchers only from the namespace package `hydra_plugins`; `lalm_bench.cli` puts the
folder that holds this one on the path.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.cells import PARENTS_OWN
from omegaconf import DictConfig, OmegaConf


class LocalGpus(Launcher):
    """Each cell is a `python -m lalm_bench` of its own that sees one device only.

    Parameters
    ----------
    devices : str, int or list of int
        See `lalm_bench.fanout.slots`.
    per_device : int
        Processes on one device at a time.
    """

    def __init__(self, devices: Any = "auto", per_device: int = 1) -> None:
        self.devices = OmegaConf.to_container(devices) if OmegaConf.is_config(devices) else devices
        self.per_device = per_device

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Find the devices; ConfigError before anything is written when there are none."""
        from lalm_bench.fanout import slots

        self.config = config
        self.slots = slots(self.devices, self.per_device)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all cells, whatever becomes of each; Incomplete when one of them failed."""
        from lalm_bench.errors import Incomplete
        from lalm_bench.fanout import Cell, run, table

        sweep = Path(self.config.hydra.sweep.dir)
        always = self._always()
        told = [filter_overrides(overrides) for overrides in job_overrides]
        shared = set.intersection(*map(set, told)) if len(told) > 1 else set()
        cells = [
            Cell(
                initial_job_idx + i,
                " ".join(word for word in words if word not in shared),
                (*always, *overrides),
                sweep / str(initial_job_idx + i) / "log",
            )
            for i, (words, overrides) in enumerate(zip(told, job_overrides, strict=True))
        ]
        outcomes = run(cells, self.slots)
        sys.stdout.write(table(outcomes))
        failed = [outcome for outcome in outcomes if outcome.code]
        if failed:
            raise Incomplete(
                f"{len(failed)} of {len(outcomes)} cells failed; their logs say why, and the same "
                "command runs only what is missing"
            )
        return [_done(overrides) for overrides in job_overrides]

    def _always(self) -> list[str]:
        """The parent's command-line settings that every cell needs."""
        config = self.config.hydra
        flags = [
            f"--config-dir={source.path}"
            for source in config.runtime.config_sources
            if source.provider == "command-line"
        ]
        if config.job.config_name != "config":
            flags.append(f"--config-name={config.job.config_name}")
        return flags + [w for w in config.overrides.hydra if not w.startswith(PARENTS_OWN)]


def _done(overrides: Sequence[str]) -> JobReturn:
    finished = JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
    finished.return_value = None
    return finished
