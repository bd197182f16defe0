"""What a sweep on SLURM costs beyond its work: many short cells, packed into jobs and one a job.

    eval "$(launchers/slurm-local env)"
    python benchmarks/sweep.py                 # 200 cells of 1 s in 8 jobs
    python benchmarks/sweep.py --pack none     # one job a cell

Tracks through an MLflow server of its own. Prints one JSON line and a table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Cells that run at a time unpacked: the pretend GPUs of launchers/slurm-local.
AT_ONCE = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--sleep", type=float, default=1.0, help="seconds of work in a cell")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--pack", choices=("by_model", "none"), default="by_model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as uri:
        row = measured(Path(folder), uri, options)
    print(json.dumps(row))
    for name, value in row.items():
        print(f"{name:<28}{value}")


def measured(folder, uri, options):
    """Submit, wait, and count what the server got."""
    packed = options.pack == "by_model"
    words = [
        *("task=mcq_synthetic", "task.scenes=1", "model=random", "figures=false"),
        *("model._target_=tests.slurm.sleepy.Sleepy", f"++model.sleep_s={options.sleep}"),
        *(f"seed=range({options.cells})", f"tracking.uri={uri}", "hydra.launcher.mem_gb=0.5"),
        *("hydra.launcher.cpus_per_task=1", "hydra.launcher.poll_s=1"),
        f"hydra.launcher.pack={options.pack}",
        *([f"hydra.launcher.jobs={options.jobs}"] if packed else []),
    ]
    began = time.monotonic()
    sweep(folder, "submit", "timed", *words)
    queued = time.monotonic()
    sweep(folder, "status", "timed", "--wait")
    ended = time.monotonic()
    sweep(folder, "collect", "timed")
    work = math.ceil(options.cells / (options.jobs if packed else AT_ONCE)) * options.sleep
    return {
        "cells": options.cells,
        "pack": options.pack,
        "jobs": options.jobs if packed else options.cells,
        "work_s": work,
        "submit_s": round(queued - began, 1),
        "wall_s": round(ended - began, 1),
        "beyond_the_work_s": round(ended - began - work, 1),
        "collect_s": round(time.monotonic() - ended, 1),
        "tracked": tracked(uri),
        "cores": len(os.sched_getaffinity(0)),
    }


def sweep(folder, *words):
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "lalm_bench.sweep", *words]
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def server(folder):
    """`launchers/mlflow-server`; its URI."""
    sys.path.insert(0, str(ROOT))
    from tests.slurm.tracking_server import TrackingServer

    running = TrackingServer(folder)
    running.start()
    try:
        yield running.uri
    finally:
        running.stop()


def tracked(uri):
    """Finished runs that the server knows."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("lalm_bench")
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    return sum(run.info.status == "FINISHED" for run in runs)


if __name__ == "__main__":
    main()
