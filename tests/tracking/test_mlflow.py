"""Against real MLflow stores: sqlite, and a server in a process of its own."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from lalm_bench.tracking.mlflow import flat_params

SMALL = ("model=random", "task.scenes=2", "figures=false")


@pytest.fixture
def client(bench):
    mlflow = pytest.importorskip("mlflow")

    def connect(uri=None):
        return mlflow.MlflowClient(uri or f"sqlite:///{bench.outputs / 'mlflow.db'}")

    return connect


def runs(client):
    (experiment,) = [e for e in client.search_experiments() if e.name == "lalm_bench"]
    return client.search_runs([experiment.experiment_id])


def test_one_run_per_fingerprint_resumed_by_id(bench, client, run_folders):
    bench(*SMALL, check=0)
    (run,) = runs(client())
    (folder,) = run_folders().values()
    assert run.info.status == "FINISHED"
    assert run.data.tags["fingerprint"] == folder.name
    assert run.data.params["task.name"] == "mcq_synthetic"
    assert run.data.params["generation.temperature"] == "0.0"
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    for name in ("accuracy", "accuracy_wilson_low", "accuracy_cluster_high", "chance", "n"):
        assert run.data.metrics[name] == pytest.approx(values[name])
    assert "accuracy/family/gap_trivial" in run.data.metrics

    bench(*SMALL, "rescore=true", check=0)
    (again,) = runs(client())
    assert again.info.run_id == run.info.run_id
    assert again.info.status == "FINISHED"

    bench(*SMALL, "seed=8", check=0)
    assert len(runs(client())) == 2


def test_artifacts_and_the_decisions_table(bench, client):
    bench("model=random", "task.scenes=2", check=0)
    (run,) = runs(client())
    names = {a.path for a in client().list_artifacts(run.info.run_id)}
    assert {"decisions.jsonl", "metrics.json", "results_table.md", "config.yaml"} <= names
    assert {"run.json", "analysis.json", "figures", "decisions_table.json"} <= names
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{bench.outputs / 'mlflow.db'}")
    table = client().load_table(
        run.info.experiment_id, "decisions_table.json", run_ids=[run.info.run_id]
    )
    assert len(table) == 14
    assert {"target", "label", "correct", "family"} <= set(table.columns)


def test_a_crash_is_failed_with_its_traceback_and_then_mended(bench, client, tmp_path):
    (tmp_path / "crashing.py").write_text(
        "from lalm_bench.models.random import RandomModel\n"
        "class Crash(RandomModel):\n"
        "    def answer(self, requests):\n"
        "        for n, r in enumerate(super().answer(requests)):\n"
        "            if n == 5 and not __import__('os').path.exists('calm'):\n"
        "                raise RuntimeError('the GPU fell off the bus')\n"
        "            yield r\n"
    )
    words = (*SMALL, "model._target_=crashing.Crash")
    done = bench(*words, path=(tmp_path,), check=1)
    assert "the GPU fell off the bus" in done.stderr
    (run,) = runs(client())
    assert run.info.status == "FAILED"
    assert "traceback.txt" in {a.path for a in client().list_artifacts(run.info.run_id)}
    (tmp_path / "calm").touch()
    bench(*words, path=(tmp_path,), check=0)
    (run,) = runs(client())
    assert run.info.status == "FINISHED"


def test_tracking_none_imports_no_mlflow(bench):
    done = bench(*SMALL, "tracking=none", python=("-X", "importtime"), check=0)
    assert not any(line.endswith(" mlflow") for line in done.stderr.splitlines())


def test_a_tracking_server(bench, client, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"),
            *("--port", str(port), "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"),
            *("--artifacts-destination", str(tmp_path / "served")),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(f"{uri}/health")
        bench(*SMALL, f"tracking.uri={uri}", check=0)
        (run,) = runs(client(uri))
        assert run.info.status == "FINISHED"
        assert run.data.metrics["n"] == 14
        names = {a.path for a in client(uri).list_artifacts(run.info.run_id)}
        assert "decisions.jsonl" in names
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)


def test_a_server_that_is_not_there_is_one_line(bench):
    env = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = bench(*SMALL, "tracking.uri=http://127.0.0.1:9", env=env, check=2)
    assert done.stderr.strip().splitlines()[-1].startswith("error: tracking.uri=http://127.0.0.1:9")


def test_a_password_in_the_uri_is_written_nowhere(bench, run_folders):
    env = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = bench(*SMALL, "tracking.uri=http://me:hunter2@127.0.0.1:9", env=env, check=2)
    assert "hunter2" not in done.stdout + done.stderr
    (folder,) = run_folders().values()
    written = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert b"127.0.0.1:9" in written
    assert b"hunter2" not in written


def wait_for(url, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise TimeoutError(url)


def test_params_are_flat_text():
    flat = flat_params({"a": {"b": [1, 2], "c": {}}, "d": None})
    assert flat == {"a.b": "[1, 2]", "a.c": "{}", "d": "None"}
