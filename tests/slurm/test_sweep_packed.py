"""Many short cells in few jobs: what it costs beyond the work, and that none is lost on the way."""

import json
import time

import pytest

from tests.slurm.sleepy import SMALL, WORDS

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400)]

CELLS, JOBS = 40, 8


def test_cells_of_a_second_packed_into_jobs(slurm_bench, mlflow_server):
    began = time.monotonic()
    words = (*WORDS, "++model.sleep_s=1", f"seed=range({CELLS})", "task.scenes=1", *SMALL)
    packed = ("hydra.launcher.pack=by_model", f"hydra.launcher.jobs={JOBS}")
    tracking = mlflow_server.overrides("packed")
    slurm_bench.sweep("submit", "packed", *words, *packed, *tracking, check=0)
    slurm_bench.sweep("status", "packed", "--wait", check=0)
    assert time.monotonic() - began - CELLS / JOBS < 90
    record = json.loads((slurm_bench.multirun / "packed" / "sweep.json").read_text())
    sizes = [len(job["parts"]) for job in record["submissions"][0]["jobs"]]
    assert sizes == [CELLS // JOBS] * JOBS
    runs = mlflow_server.runs("packed")
    assert len(runs) == CELLS
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all("accuracy" in run.data.metrics for run in runs)
