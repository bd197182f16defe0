"""The local cluster is a real one: arrays over nodes, numbered GPUs, preemption, truth on kills."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from lalm_bench.sweep import slurm
from tests.slurm.cluster import Cluster, until
from tests.slurm.conftest import SLURM_LOCAL

pytestmark = pytest.mark.slurm


def test_array_spreads_over_nodes_and_numbers_gpus(cluster, tmp_path):
    script = "echo $SLURMD_NODENAME gpu=$CUDA_VISIBLE_DEVICES; sleep 3"
    job = cluster.submit(script, "--array=0-7", "--gres=gpu:1", "-o", "said.%a", cwd=tmp_path)
    for task in range(8):
        assert cluster.wait(f"{job}_{task}") == "COMPLETED"
    said = {(tmp_path / f"said.{task}").read_text() for task in range(8)}
    assert said == {f"n{node} gpu={gpu}\n" for node in range(1, 5) for gpu in range(2)}


def test_more_gpus_than_a_node_has_is_refused(cluster, tmp_path):
    with pytest.raises(AssertionError, match="Requested node configuration is not available"):
        cluster.submit("true", "--gres=gpu:3", cwd=tmp_path)


def test_kill_and_cancel_are_seen(cluster, tmp_path):
    killed, cancelled = (cluster.submit("sleep 100", cwd=tmp_path) for _ in range(2))
    cluster.wait(killed, "RUNNING")
    cluster.wait(cancelled, "RUNNING")
    until(lambda: cluster.processes(killed), 20, "the killed job's processes")
    cluster.kill(killed)
    cluster.cancel(cancelled)
    assert cluster.wait(killed) == "FAILED"
    assert cluster.wait(cancelled) == "CANCELLED"
    assert until(lambda: cluster.accounted(killed), 20, "sacct")[1] == "0:9"


def test_every_kind_of_kill_is_told_from_a_failure(cluster, tmp_path, monkeypatch):
    """By the queue, and by the accounting once the queue has forgotten the job."""
    monkeypatch.setenv("SLURM_CONF", cluster.conf)
    scripts = {
        "kill -9 $$": "SIGKILL",  # the job itself
        "sleep 100 & kill -9 $!; wait $!": "SIGKILL",  # what it waited for
        "exit 1": "failed",
        "exit 130": "failed",
    }
    jobs = {cluster.submit(s, "--job-name=ends", cwd=tmp_path): w for s, w in scripts.items()}
    for job in jobs:
        assert cluster.wait(job) == "FAILED"
        until(lambda job=job: cluster.accounted(job), 20, "sacct")
    told = slurm.facts(["ends"], jobs)
    assert {job: told[job].words for job in jobs} == jobs
    told = slurm.facts(["forgotten"], jobs)
    assert {job: told[job].words for job in jobs} == jobs


def test_urgent_work_sends_the_signal_and_requeues(cluster, tmp_path):
    """USR2 at once; the job asks for its place in the queue and starts again under its id."""
    again = "echo USR2; scontrol requeue ${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; exit"
    script = f"trap '{again}' USR2; echo start $SLURM_RESTART_COUNT; sleep 60 & wait"
    # Each of the eight GPUs, so that the urgent job finds none free.
    filling = ("--array=0-7", "--gres=gpu:1", "--requeue", "--signal=B:USR2@10", "-o", "said.%a")
    job = cluster.submit(script, *filling, "--open-mode=append", cwd=tmp_path)
    for task in range(8):
        cluster.wait(f"{job}_{task}", "RUNNING")
    until(lambda: all((tmp_path / f"said.{t}").exists() for t in range(8)), 20, "jobs to speak")
    urgent = cluster.submit("sleep 1", "--partition=urgent", "--gres=gpu:2", cwd=tmp_path)
    assert cluster.wait(urgent) == "COMPLETED"

    def restarted():
        return [p for p in tmp_path.glob("said.*") if "start 1" in p.read_text()]

    until(lambda: len(restarted()) == 2, 90, "two preempted jobs to start again")
    assert all("USR2" in said.read_text() for said in restarted())
    cluster.cancel(job)


def test_comes_back_after_kill_9_and_leaves_nothing_behind(cluster, tmp_path_factory):
    """A cluster of its own (without a database: quick) beside the one of the session."""
    folder = tmp_path_factory.mktemp("c")
    env = {
        **{k: v for k, v in os.environ.items() if k != "SLURM_CONF"},
        **{"SLURM_LOCAL_DIR": str(folder), "SLURM_LOCAL_PORT": "26600"},
        **{"SLURM_LOCAL_NODES": "2", "SLURM_LOCAL_ACCT": "no"},
    }

    def slurm_local(*words, code=0):
        done = subprocess.run(
            [SLURM_LOCAL, *words], env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    slurm_local("start")
    try:
        assert "already up" in slurm_local("start")
        own = Cluster(str(folder / "etc" / "slurm.conf"))
        job = own.submit("sleep 300", cwd=folder)
        own.wait(job, "RUNNING")
        daemons = _processes_of(own.conf, "munged", "slurmctld", "slurmd")
        assert len(daemons) >= 4
        for pid in daemons:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not _processes_of(own.conf, "slurmctld", "slurmd"), 10, "daemons to die")
        slurm_local("status", code=1)
        slurm_local("start")
        assert own.state(job) in ("RUNNING", "PENDING")  # not lost
        assert own.wait(own.submit("true", cwd=folder)) == "COMPLETED"
    finally:
        slurm_local("stop", "--purge")
    assert not _processes_of(own.conf, "munged", "slurmctld", "slurmd", "slurmstepd", "sleep")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"SLURM_LOCAL_NODES": "four"}, "SLURM_LOCAL_NODES=four is no number"),
        ({"SLURM_LOCAL_DIR": "somewhere"}, "give a full path"),
        ({"SLURM_LOCAL_ACCT": "maybe"}, "SLURM_LOCAL_ACCT: yes or no"),
    ],
)
def test_wrong_settings_are_refused(setting, says):
    done = subprocess.run(
        [SLURM_LOCAL, "start"], env=os.environ | setting, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert says in done.stderr


def _processes_of(conf, *programs):
    """Processes of these programs whose environment names this configuration."""
    wanted = f"SLURM_CONF={conf}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            program = (place / "exe").readlink().name.removesuffix("-wlm")
            if program in programs and wanted in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
        except OSError:
            continue
    return found
