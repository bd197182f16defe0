"""A model for sweeps: it guesses as `random` does, slowly or not at all, as files tell it.

`model._target_=tests.slurm.sleepy.Sleepy`; the folder `$SLEEPY` holds `delay-<cell>` (seconds an
answer) and `poison-<cell>`. Neither is part of its identity, so a disturbed cell and an undisturbed
one are the same run.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from lalm_bench.models.random import RandomModel


@dataclass
class Sleepy(RandomModel):
    cell: int = 0
    # Per run, and always.
    sleep_s: float = 0.0

    def answer(self, requests):
        folder = Path(os.environ.get("SLEEPY", "/nowhere"))
        delay, poison = folder / f"delay-{self.cell}", folder / f"poison-{self.cell}"
        pause = float(delay.read_text()) if delay.exists() else 0.0
        time.sleep(self.sleep_s)
        for number, response in enumerate(super().answer(requests)):
            time.sleep(pause)
            if poison.exists() and number == 3:
                raise RuntimeError(f"cell {self.cell} is poisoned")
            yield response


WORDS = (
    *("task=mcq_synthetic", "task.scenes=4", "model=random", "figures=false"),
    "model._target_=tests.slurm.sleepy.Sleepy",
)
SMALL = ("hydra.launcher.mem_gb=0.5", "hydra.launcher.cpus_per_task=1", "hydra.launcher.poll_s=2")
