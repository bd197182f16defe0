"""Against real MLflow stores: sqlite, and a server in a process of its own."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, environment

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


def test_artifacts_and_the_decisions_table(bench, client, monkeypatch):
    bench("model=random", "task.scenes=2", check=0)
    (run,) = runs(client())
    names = {a.path for a in client().list_artifacts(run.info.run_id)}
    assert {"decisions.jsonl", "metrics.json", "results_table.md", "config.yaml"} <= names
    assert {"run.json", "analysis.json", "figures", "decisions_table.json"} <= names
    import mlflow

    uri = f"sqlite:///{bench.outputs / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # as the next line does, but for this test
    mlflow.set_tracking_uri(uri)
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


def test_a_tracking_server(bench, server):
    bench(*SMALL, f"tracking.uri={server.uri}", check=0)
    (run,) = server.runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["n"] == 14
    names = {a.path for a in server.client().list_artifacts(run.info.run_id)}
    assert {"decisions.jsonl", "decisions_table.json", "run.json"} <= names


@pytest.mark.parametrize("uri", ["gopher://x", "127.0.0.1:9", "sqlite:////proc/no/mlflow.db"])
def test_an_impossible_store_is_one_line(bench, uri):
    done = bench(*SMALL, f"tracking.uri='{uri}'", check=2)
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: tracking.uri={uri}: ")


def test_a_deleted_experiment_is_named(bench, client):
    bench(*SMALL, check=0)
    (experiment,) = [e for e in client().search_experiments() if e.name == "lalm_bench"]
    client().delete_experiment(experiment.experiment_id)
    done = bench(*SMALL, "rescore=true", check=2)
    assert "was deleted" in done.stderr
    assert f"restore -x {experiment.experiment_id}" in done.stderr
    bench(*SMALL, "rescore=true", "tracking.experiment=other", check=0)


def test_the_store_that_mlflow_is_told_of_is_the_default(bench, client):
    uri = f"sqlite:///{bench.outputs / 'elsewhere.db'}"
    bench(*SMALL, env={"MLFLOW_TRACKING_URI": uri}, check=0)
    assert len(runs(client(uri))) == 1
    assert not (bench.outputs / "mlflow.db").exists()


def test_eight_processes_make_one_store(tmp_path):
    words = (
        "from lalm_bench.tracking.mlflow import MlflowTracking as M;"
        f"M(uri='sqlite:///{tmp_path}/deep/m.db', outputs='{tmp_path}').prepare()"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", words], stderr=subprocess.PIPE, env=environment(ROOT)
        )
        for _ in range(8)
    ]
    said = [process.communicate(timeout=200)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0] * 8, said
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/deep/m.db")
    assert sorted(e.name for e in client.search_experiments()) == ["Default", "lalm_bench"]


def test_what_is_swept_is_comparable(bench, client):
    swept = ("intervention=noise", "intervention.snr_db=10,-10", "seed=1,2")
    bench("-m", *SMALL, *swept, env={"LALM_BENCH_SWEEP": "/somewhere/else"}, check=0)
    found = runs(client())
    settings = ("intervention.name", "intervention.snr_db", "seed", "task.name", "model.name")
    assert sorted(tuple(run.data.params[s] for s in settings) for run in found) == [
        ("noise", snr, seed, "mcq_synthetic", "random")
        for snr in ("-10", "10")
        for seed in ("1", "2")
    ]
    # Everything else is the same, so that MLflow's table of differences shows what was swept only.
    rest = [
        {k: v for k, v in run.data.params.items() if k not in ("seed", "intervention.snr_db")}
        for run in found
    ]
    follow = {"intervention.seed", "model.seed", "task.seed"}  # settings that repeat the seed
    assert len({tuple(sorted(r.items() - {(k, r.get(k)) for k in follow})) for r in rest}) == 1
    assert not any("/" in value for run in found for value in run.data.params.values())
    assert len({run.data.tags["sweep"] for run in found}) == 1
    assert "/" not in found[0].data.tags["sweep"]
    assert {run.data.tags["git.dirty"] for run in found} <= {"true", "false"}
    assert all(run.data.tags["host"] and run.data.tags["condition"] for run in found)


def test_a_cell_of_two_sweeps_is_in_both(bench, client):
    for sweep in ("first", "second"):
        bench(*SMALL, f"tracking.sweep={sweep}", "rescore=true", check=0)
    (run,) = runs(client())
    assert run.data.tags["sweep"] == "first,second"
