"""A server that is away, goes away, hangs or comes back: no run is lost, and little time."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment

SMALL = ("model=random", "task.scenes=2", "figures=false")


@pytest.fixture
def notes(bench):
    """The runs that a store has not heard the end of."""

    def read():
        return [json.loads(f.read_text()) for f in (bench.outputs / ".unsent").glob("*.json")]

    return read


def test_a_server_that_is_away_costs_one_line_and_no_run(bench, run_folders, notes, server):
    server.stop()
    began = time.monotonic()
    done = bench(*SMALL, f"tracking.uri={server.uri}", check=0)
    assert time.monotonic() - began < 30
    lines = [line for line in done.stderr.splitlines() if "MLflow" in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"MLflow at {server.uri} does not answer (")
    (folder,) = run_folders().values()
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    (note,) = notes()
    assert bench.outputs / note["folder"] == folder

    server.start()
    done = bench(*SMALL, "seed=8", f"tracking.uri={server.uri}", check=0)
    assert f"MLflow at {server.uri} now has 1 earlier run\n" in done.stderr
    assert notes() == []
    late, latest = sorted(server.runs(), key=lambda run: run.info.start_time)
    assert late.info.status == latest.info.status == "FINISHED"
    assert late.data.tags["fingerprint"] == folder.name
    assert late.data.metrics.keys() == latest.data.metrics.keys()
    assert late.data.params.keys() == latest.data.params.keys()
    assert late.data.tags.keys() == latest.data.tags.keys()
    listed = [
        {a.path for a in server.client().list_artifacts(run.info.run_id)} for run in (late, latest)
    ]
    assert listed[0] == listed[1]


def test_a_server_that_goes_away_in_the_middle(bench, notes, server, tmp_path):
    asked = slow_model(tmp_path)
    words = (*SMALL, "model._target_=slow.Slow", f"tracking.uri={server.uri}")
    with started(tmp_path, *words) as process:
        wait_until(asked.exists, process)
        (run,) = server.runs()
        assert run.info.status == "RUNNING"
        server.stop()
        (tmp_path / "go").touch()
        said = process.communicate(timeout=100)[1]
    assert process.returncode == 0, said
    assert "went away" in said
    assert len(notes()) == 1
    server.start()
    bench(*SMALL, "seed=8", f"tracking.uri={server.uri}", check=0)
    assert [run.info.status for run in server.runs()] == ["FINISHED"] * 2
    assert notes() == []


def test_a_server_that_hangs_is_not_waited_for_long(bench, notes):
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        done = bench(*SMALL, f"tracking.uri={uri}", check=0)
        assert time.monotonic() - began < 60
    assert f"MLflow at {uri} does not answer" in done.stderr
    assert len(notes()) == 1


def test_a_killed_run_is_put_right_at_the_next_start(bench, run_folders, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    killed_at_work(tmp_path)
    (folder,) = run_folders().values()
    client = mlflow.MlflowClient(f"sqlite:///{bench.outputs / 'mlflow.db'}")
    assert find(client, folder.name).info.status == "RUNNING"
    bench(*SMALL, check=0)
    run = find(client, folder.name)
    assert run.info.status == "FAILED"
    assert run.data.tags["status"] == "killed"
    state = json.loads((folder / "run.json").read_text())
    assert state["status"] == "failed"
    assert state["error"].startswith("killed")
    (tmp_path / "go").touch()
    bench(*SMALL, "model._target_=slow.Slow", path=(tmp_path,), check=0)
    again = find(client, folder.name)
    assert again.info.run_id == run.info.run_id
    assert again.info.status == "FINISHED"
    assert again.data.tags["status"] == "finished"
    assert again.data.tags["error"] == ""


def test_a_live_run_is_left_alone(bench, run_folders, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    from lalm_bench.tracking import reconcile

    asked = slow_model(tmp_path)
    with started(tmp_path, *SMALL, "model._target_=slow.Slow") as process:
        wait_until(asked.exists, process)
        (folder,) = run_folders().values()
        assert reconcile(folder) is False
        bench(*SMALL, check=0)  # its start looks at the note of the live run, too
        client = mlflow.MlflowClient(f"sqlite:///{bench.outputs / 'mlflow.db'}")
        assert find(client, folder.name).info.status == "RUNNING"
        (tmp_path / "go").touch()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert find(client, folder.name).info.status == "FINISHED"


def test_reconcile_names_the_reason_and_does_so_once(bench, run_folders, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    from lalm_bench.tracking import reconcile

    killed_at_work(tmp_path)
    (folder,) = run_folders().values()
    assert reconcile(folder, "node n3 failed") is True
    client = mlflow.MlflowClient(f"sqlite:///{bench.outputs / 'mlflow.db'}")
    run = find(client, folder.name)
    assert (run.info.status, run.data.tags["status"]) == ("FAILED", "killed")
    assert run.data.tags["error"].startswith("killed: node n3 failed;")
    before = (folder / "run.json").read_bytes()
    assert reconcile(folder, "again") is True
    assert (folder / "run.json").read_bytes() == before
    assert reconcile(tmp_path / "nothing") is False


def test_a_killed_shard_is_marked_and_a_waiting_run_is_not(bench, run_folders, tmp_path):
    from lalm_bench.tracking import reconcile

    bench(*SMALL, "shards=2", "shard=0", check=0)
    (folder,) = run_folders().values()
    assert reconcile(folder) is True
    state = json.loads((folder / "run.json").read_text())
    assert (state["status"], state["error"]) == ("running", None)  # it waits for shard 1

    asked = slow_model(tmp_path)
    with started(tmp_path, *SMALL, "model._target_=slow.Slow", "shards=2", "shard=1") as process:
        wait_until(asked.exists, process)
        process.kill()
    slow = next(f for f in run_folders().values() if f != folder)
    assert reconcile(slow, "cancelled") is True
    assert json.loads((slow / "run.1-of-2.json").read_text())["status"] == "failed"
    state = json.loads((slow / "run.json").read_text())
    assert state["status"] == "failed"
    assert state["error"].startswith("shard 1-of-2: killed: cancelled;")
    client = pytest.importorskip("mlflow").MlflowClient(f"sqlite:///{bench.outputs / 'mlflow.db'}")
    assert find(client, slow.name).data.tags["status"] == "killed"


def slow_model(folder):
    """A random model that waits, after three answers, for the file `go`; says so with `asked`."""
    (folder / "slow.py").write_text(
        "import pathlib, time\n"
        "from lalm_bench.models.random import RandomModel\n"
        f"HERE = pathlib.Path({str(folder)!r})\n"
        "class Slow(RandomModel):\n"
        "    def answer(self, requests):\n"
        "        for n, r in enumerate(super().answer(requests)):\n"
        "            if n == 3:\n"
        "                (HERE / 'asked').touch()\n"
        "                while not (HERE / 'go').exists():\n"
        "                    time.sleep(0.05)\n"
        "            yield r\n"
    )
    return folder / "asked"


@contextmanager
def started(folder: Path, *words):
    """The command line in a process of its own, which does not outlive the block."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "lalm_bench", *words),
            *(f"paths.outputs={folder / 'outputs'}", f"paths.multirun={folder / 'multi'}"),
        ],
        cwd=folder,
        env=environment(folder, ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def killed_at_work(folder: Path):
    """A run that got SIGKILL while its model answered."""
    asked = slow_model(folder)
    with started(folder, *SMALL, "model._target_=slow.Slow") as process:
        wait_until(asked.exists, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def find(client, fingerprint):
    (experiment,) = [e for e in client.search_experiments() if e.name == "lalm_bench"]
    query = f"tags.fingerprint = '{fingerprint}'"
    (run,) = client.search_runs([experiment.experiment_id], query)
    return run


def wait_until(holds, process, seconds=100):
    deadline = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
