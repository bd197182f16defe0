"""Sweeps on a real cluster: waited for or left alone, packed, split, told truly."""

import csv
import json
import os
import signal
import time

import pytest

from tests.slurm.cluster import until
from tests.slurm.sleepy import SMALL, WORDS

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400)]

QUIET = ("figures=false", "tracking=none")


def table(folder):
    with open(folder / "table.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_noise_sweep_over_four_nodes(slurm_bench, cluster, mlflow_server):
    name = "noise_over_four_nodes"
    done = slurm_bench(
        *("-m", "task=mcq_synthetic", "task.scenes=8", "model=random,signal"),
        *("intervention=noise", "intervention.snr_db=20,10,0,-10,-20", "hydra/launcher=slurm"),
        *(*SMALL, "hydra.sweep.dir=multirun/noise", *mlflow_server.overrides(name)),
        "hydra.launcher.setup=['echo device $CUDA_VISIBLE_DEVICES on $SLURMD_NODENAME']",
        check=0,
        timeout=380,
    )
    assert "10 of 10 done" in done.stdout
    folder = slurm_bench.multirun / "noise"
    logs = [path.read_text() for path in (folder / "jobs").glob("*_log.out")]
    devices = [line.split() for log in logs for line in log.splitlines() if "device" in line[:6]]
    assert len(devices) == 10
    assert {words[1] for words in devices} == {"0", "1"}
    assert {words[3] for words in devices} == {"n1", "n2", "n3", "n4"}
    rows = table(folder)
    hearing = [float(row["accuracy"]) for row in rows if row["model"] == "signal"]
    assert hearing[0] == 1.0
    assert hearing == sorted(hearing, reverse=True)
    assert (folder / "levels_intervention_snr_db.png").stat().st_size > 10_000
    runs = mlflow_server.runs(name)
    assert len(runs) == 10
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["sweep"] for run in runs} == {"noise"}
    again = slurm_bench.sweep(
        *("submit", "again", "task=mcq_synthetic", "task.scenes=8", "model=signal,random"),
        *("intervention=noise", "intervention.snr_db=-20,20,10,-10,0", "hydra/launcher=slurm"),
        *(*SMALL, *mlflow_server.overrides(name)),
        check=0,
    )
    assert "10 finished before" in again.stdout
    assert "nothing to send" in again.stdout
    slurm_bench.sweep("status", "again", check=0)


def test_submit_leave_collect(slurm_bench):
    words = ("task=mcq_synthetic", "task.scenes=2", "model=random", "seed=1,2,1", *QUIET, *SMALL)
    began = time.monotonic()
    slurm_bench.sweep("submit", "left", *words, check=0)
    assert time.monotonic() - began < 30
    assert slurm_bench.sweep("submit", "left", *words, check=2).stderr.count("\n") == 1
    slurm_bench.sweep("status", "left", "--wait", check=0)
    slurm_bench.sweep("collect", "left", check=0)
    rows = table(slurm_bench.multirun / "left")
    assert [row["state"] for row in rows] == ["done"] * 3
    assert rows[0]["accuracy"] == rows[2]["accuracy"]
    record = json.loads((slurm_bench.multirun / "left" / "sweep.json").read_text())
    assert record["cells"][2]["same_as"] == 0
    assert len(record["submissions"][0]["jobs"]) == 2
    assert "nothing to send" in slurm_bench.sweep("resume", "left", check=0).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("seed=1,0.5",), "cell 1 (seed=0.5): seed=0.5 must be a whole number"),
        (("hydra.launcher.partition=nope",), "invalid partition"),
        (("hydra.launcher.gpus_per_node=9",), "not available"),
        (("hydra.launcher.jobs=2",), "hydra.launcher.pack=by_model"),
        (("+hydra.launcher.env.HF_TOKEN=x",), "looks like a secret"),
        (("tracking.uri=http://me:hidden@localhost:1",), "no place for a password"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(slurm_bench, cluster, tmp_path, words, said):
    command = ("submit", "wrong", "model=random", "figures=false", *SMALL, *words)
    done = slurm_bench.sweep(*command, check=2)
    assert said.lower() in done.stderr.lower()
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stdout + done.stderr
    assert not (slurm_bench.multirun / "wrong").exists()
    assert not slurm_bench.outputs.exists() or not slurm_bench.runs()
    # SLURM keeps a note of a job that asked for what no node has.
    assert {fact["JobState"] for fact in cluster.below(tmp_path).values()} <= {"FAILED"}


def test_cancel_and_resume(slurm_bench, cluster, tmp_path):
    (tmp_path / "delay-0").write_text("2")
    env = {"SLEEPY": str(tmp_path)}
    words = (*WORDS, "++model.cell=0,1", "hydra.launcher.pack=by_model", *QUIET, *SMALL)
    slurm_bench.sweep("submit", "ended", *words, "hydra.launcher.jobs=1", check=0, env=env)
    until(lambda: list(slurm_bench.outputs.rglob("responses.jsonl")), 60, "a first answer")
    done = slurm_bench.sweep("cancel", "ended", check=1)
    assert done.stdout.count("cancelled") >= 2
    (folder,) = slurm_bench.runs().values()
    assert json.loads((folder / "run.json").read_text())["status"] == "stopped"
    (tmp_path / "delay-0").unlink()
    slurm_bench.sweep("resume", "ended", "hydra.launcher.cpus_per_task=2", check=0, env=env)
    record = json.loads((slurm_bench.multirun / "ended" / "sweep.json").read_text())
    assert record["launcher"]["cpus_per_task"] == 2
    slurm_bench.sweep("status", "ended", "--wait", check=0)


def test_ctrl_c_leaves_the_jobs(slurm_bench, cluster, tmp_path):
    (tmp_path / "delay-0").write_text("0.5")
    process = slurm_bench.start(
        *("-m", *WORDS, "++model.cell=0", "hydra/launcher=slurm", *SMALL, "tracking=none"),
        "hydra.sweep.dir=multirun/alone",
        env={"SLEEPY": str(tmp_path)},
    )
    until(lambda: "running" in process.said(), 60, "the job to run")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    assert "the jobs run on" in process.said()
    assert "python -m lalm_bench.sweep status alone" in process.said()
    slurm_bench.sweep("status", "alone", "--wait", check=0)


def test_shards_are_array_tasks_of_one_run(slurm_bench, tmp_path):
    words = ("task=mcq_synthetic", "task.scenes=6", "model=signal", *QUIET)
    slurm_bench.sweep("submit", "split", *words, "shards=3", *SMALL, check=0)
    slurm_bench.sweep("status", "split", "--wait", check=0)
    record = json.loads((slurm_bench.multirun / "split" / "sweep.json").read_text())
    assert len(record["submissions"][0]["jobs"]) == 3
    (folder,) = slurm_bench.runs().values()
    slurm_bench(*words, "paths.outputs=whole", check=0)
    (whole,) = (tmp_path / "whole").rglob("decisions.jsonl")
    assert (folder / "decisions.jsonl").read_bytes() == whole.read_bytes()
    # Nobody merged: collect does, and asks nothing.
    state = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**state, "status": "running"}))
    (folder / "metrics.json").unlink()
    slurm_bench.sweep("collect", "split", check=0)
    assert table(slurm_bench.multirun / "split")[0]["accuracy"] == "1.0"


def test_two_sweeps_that_share_cells(slurm_bench, tmp_path):
    (tmp_path / "delay-1").write_text("0.4")
    env = {"SLEEPY": str(tmp_path)}
    for name, cells in (("one", "0,1"), ("two", "1,2")):
        words = (*WORDS, f"++model.cell={cells}", *QUIET, *SMALL)
        slurm_bench.sweep("submit", name, *words, check=0, env=env)
    for name in ("one", "two"):
        slurm_bench.sweep("status", name, "--wait", check=0)
    assert len(slurm_bench.runs()) == 3
    for folder in slurm_bench.runs().values():
        assert len((folder / "responses.jsonl").read_text().splitlines()) == 28
