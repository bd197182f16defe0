"""hydra/launcher=slurm: the cells of a sweep as jobs of a SLURM cluster.

Hydra takes launchers only from the namespace package `hydra_plugins`, and imports all of it at each
start: nothing heavy here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.cells import PARENTS_OWN
from omegaconf import DictConfig, OmegaConf


class Slurm(Launcher):
    """Sends all cells, and waits for them unless `wait` is false.

    Parameters
    ----------
    params
        See `lalm_bench.sweep.settings.Settings`.
    """

    checks_cells = True

    def __init__(self, **params: Any) -> None:
        self.params = {
            name: OmegaConf.to_container(value, resolve=True)
            if OmegaConf.is_config(value)
            else value
            for name, value in params.items()
        }

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Check the settings; ConfigError before anything is written."""
        from lalm_bench.sweep.settings import Settings

        self.config = config
        self.settings = Settings.of(self.params)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit, and see the sweep through; Incomplete when a cell has no result."""
        from lalm_bench.errors import ConfigError
        from lalm_bench.sweep.start import hints, see_through, start

        if initial_job_idx:
            raise ConfigError(
                "hydra/launcher=slurm sends a sweep as a whole: leave out hydra.sweeper."
                "max_batch_size, and bound the jobs with hydra.launcher.array_parallelism"
            )
        config = self.config.hydra
        folder = Path(config.sweep.dir)
        # Hydra has written the configuration there, checked by nobody; ours is the record.
        (folder / "multirun.yaml").unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()  # a sweep that is refused leaves nothing
        sweep = start(
            folder,
            job_overrides,
            self.settings,
            config_name=config.job.config_name,
            folders=[s.path for s in config.runtime.config_sources if s.provider == "command-line"],
            hydra_words=[w for w in config.overrides.hydra if not w.startswith(PARENTS_OWN)],
            outputs=str(self.config.paths.outputs),
            figures=bool(self.config.figures),
        )
        if self.settings.wait:
            see_through(sweep)
        else:
            print(hints(sweep), end="", flush=True)
        return [_done(overrides) for overrides in job_overrides]


def _done(overrides: Sequence[str]) -> JobReturn:
    finished = JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
    finished.return_value = None
    return finished
