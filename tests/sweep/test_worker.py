"""A job's own work, by submitit's local executor: real processes, and no cluster."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import submitit

from lalm_bench.store import RunFolder
from lalm_bench.sweep.worker import Assignment, Pack, Worker
from tests.conftest import ROOT, environment

QUICK = (
    *("task=mcq_synthetic", "task.scenes=2", "model=random", "tracking=none", "figures=false"),
    "model._target_=tests.slurm.sleepy.Sleepy",
)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """`start(overrides, ...)` is a job that works on these cells."""
    monkeypatch.setenv("PYTHONPATH", environment(ROOT)["PYTHONPATH"])
    monkeypatch.setenv("SLEEPY", str(tmp_path))
    jobs = []

    def submit(*cells):
        assignments = tuple(
            Assignment(i, f"{i}.json", (*QUICK, *words)) for i, words in enumerate(cells)
        )
        pack = Pack(str(tmp_path / "sweep"), str(tmp_path), 1, "config", (), assignments)
        executor = submitit.LocalExecutor(tmp_path / "jobs")
        executor.update_parameters(timeout_min=4, stderr_to_stdout=True)
        jobs.append(executor.submit(Worker(), pack))
        return jobs[-1]

    yield submit
    for job in jobs:
        job.cancel(check=False)


def note(tmp_path, cell):
    file = tmp_path / "sweep" / "cells" / f"{cell}.json"
    return json.loads(file.read_text()) if file.exists() else {}


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def child(job):
    """The process that works, below submitit's controller."""
    pid = int(job.job_id)
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_a_failed_cell_sinks_no_other_and_fails_the_job(start, tmp_path):
    (tmp_path / "poison-1").touch()
    job = start(["++model.cell=0"], ["++model.cell=1"], ["seed=0.5"], ["++model.cell=2"])
    with pytest.raises(submitit.core.utils.FailedJobError, match="2 of 4 cells have no result"):
        job.result()
    assert [note(tmp_path, i)["state"] for i in range(4)] == ["done", "failed", "failed", "done"]
    assert note(tmp_path, 1)["error"] == "cell 1 is poisoned"
    log = job.stdout()
    assert "RuntimeError: cell 1 is poisoned" in log
    assert "seed=0.5 must be a whole number" in log
    states = [json.loads(p.read_text())["status"] for p in (tmp_path / "outputs").rglob("run.json")]
    assert sorted(states) == ["failed", "finished", "finished"]


def test_the_announcing_signal_requeues_and_nothing_is_asked_twice(start, tmp_path):
    (tmp_path / "delay-0").write_text("0.5")
    job = start(["++model.cell=0"], ["++model.cell=1"])
    answers = until(lambda: list((tmp_path / "outputs").rglob("responses.jsonl")))[0]
    until(lambda: len(answers.read_text().splitlines()) > 1)
    os.kill(child(job), signal.SIGUSR2)
    until(lambda: note(tmp_path, 0)["state"] == "stopped", 20)
    before = answers.read_text()
    assert json.loads((answers.parent / "run.json").read_text())["status"] == "stopped"
    (tmp_path / "delay-0").unlink()
    assert job.result() is None
    after = answers.read_text()
    assert after.startswith(before)
    assert len({json.loads(line)["key"] for line in after.splitlines()}) == 14
    assert after.count("\n") == 14
    assert [note(tmp_path, i)["state"] for i in range(2)] == ["done", "done"]
    assert json.loads((answers.parent / "run.json").read_text())["starts"] == 2


def test_a_cell_that_somebody_else_works_on_comes_last(start, tmp_path):
    from lalm_bench.sweep.cells import check

    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        (cell,) = check([[*QUICK, "++model.cell=0"]], "config", [])
    finally:
        os.chdir(here)
    with RunFolder(tmp_path / cell.folder):
        job = start(["++model.cell=0"], ["++model.cell=1"])
        until(lambda: note(tmp_path, 1).get("state") == "done")
        until(lambda: note(tmp_path, 0)["state"] == "waiting")
    assert job.result() is None
    assert note(tmp_path, 0)["state"] == "done"


def test_another_stage_works_as_a_cell(start, tmp_path):
    cells = '[["seed=1"],["seed=2"]]'
    job = start(["stage=study", f"study.cells={cells}"], ["seed=3"])
    assert job.result() is None
    assert len(list((tmp_path / "outputs").rglob("metrics.json"))) == 3
    assert list((tmp_path / "multirun" / "studies").rglob("tables.md"))
