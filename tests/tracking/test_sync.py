"""MLflow rebuilt from the run folders alone."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lalm_bench.tracking.__main__ import main
from lalm_bench.tracking.record import Record
from tests.conftest import ROOT, environment
from tests.tracking.test_away import find, slow_model, started, wait_until

SMALL = ("model=random", "task.scenes=2")


@pytest.fixture
def store(bench):
    """`store(name="mlflow.db")`: a client of the store, and what its runs hold."""
    mlflow = pytest.importorskip("mlflow")

    def read(name="mlflow.db"):
        client = mlflow.MlflowClient(f"sqlite:///{bench.outputs / name}")
        (experiment,) = [e for e in client.search_experiments() if e.name == "lalm_bench"]
        runs = client.search_runs([experiment.experiment_id])
        return {run.data.tags["fingerprint"]: content(client, run) for run in runs}

    return read


def content(client, run):
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")}
    files, folders = set(), [""]
    while folders:
        for found in client.list_artifacts(run.info.run_id, folders.pop()):
            (folders.append if found.is_dir else files.add)(found.path)
    return {
        "status": run.info.status,
        "params": run.data.params,
        "metrics": run.data.metrics,
        "tags": tags,
        "files": files,
        "name": run.info.run_name,
    }


def sync(bench, *words, check=0):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lalm_bench.tracking", "sync"),
            *("--outputs", bench.outputs, *words),
        ],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment(ROOT),
        cwd=bench.outputs.parent,
    )
    assert done.returncode == check, done.stdout + done.stderr
    return done


def row(done, status):
    """Numbers of a table's row: runs, sent, as it was, at work, not sent."""
    (line,) = [line for line in done.stdout.splitlines() if re.search(rf"^│ {status}\b", line)]
    return [0 if cell == "-" else int(cell) for cell in re.findall(r"\d+|-", line)]


def test_a_lost_store_is_rebuilt_as_it_was(bench, store):
    bench(*SMALL, "tracking.sweep=night", check=0)
    bench(*SMALL, "seed=8", "figures=false", "intervention=swap", check=0)
    before = store()
    assert row(sync(bench), "finished") == [2, 0, 2, 0, 0]  # live tracking left nothing to do
    again = ("--uri", f"sqlite:///{bench.outputs / 'again.db'}")
    assert row(sync(bench, *again, "--dry-run"), "finished") == [2, 2, 0, 0, 0]
    assert not (bench.outputs / "again.db").exists()
    assert row(sync(bench, *again), "finished") == [2, 2, 0, 0, 0]
    assert store("again.db") == before
    assert row(sync(bench, *again), "finished") == [2, 0, 2, 0, 0]
    assert store("again.db") == before


def test_untracked_runs_go_to_a_server(bench, server, run_folders):
    bench(*SMALL, "figures=false", "tracking=none", check=0)
    assert row(sync(bench, "--uri", server.uri), "finished") == [1, 1, 0, 0, 0]
    (run,) = server.runs()
    (folder,) = run_folders().values()
    assert run.data.tags["fingerprint"] == folder.name
    state = json.loads((folder / "run.json").read_text())
    assert run.info.end_time - run.info.start_time < 300_000
    assert run.data.tags["host"] == state["host"]["node"]
    assert "accuracy" in run.data.metrics
    assert row(sync(bench, "--uri", server.uri, "--dry-run"), "finished") == [1, 0, 1, 0, 0]


def test_the_dead_are_buried_and_the_living_are_not(bench, tmp_path, run_folders):
    mlflow = pytest.importorskip("mlflow")
    asked = slow_model(tmp_path)
    words = ("model=random", "task.scenes=2", "figures=false", "model._target_=slow.Slow")
    with started(tmp_path, *words, "seed=8") as living:
        wait_until(asked.exists, living)
        (alive,) = run_folders().values()
        asked.unlink()
        with started(tmp_path, *words) as dying:
            wait_until(asked.exists, dying)
            os.kill(dying.pid, signal.SIGKILL)
        (killed,) = [f for f in run_folders().values() if f != alive]
        done = sync(bench)
        assert row(done, "failed") == [1, 1, 0, 0, 0]
        assert row(done, "running") == [1, 0, 0, 1, 0]
        assert f"{killed}: was killed while it ran" in done.stdout
        (tmp_path / "go").touch()
        living.communicate(timeout=100)
    client = mlflow.MlflowClient(f"sqlite:///{bench.outputs / 'mlflow.db'}")
    run = find(client, killed.name)
    assert (run.info.status, run.data.tags["status"]) == ("FAILED", "killed")
    assert json.loads((killed / "run.json").read_text())["status"] == "failed"
    assert find(client, alive.name).info.status == "FINISHED"


def test_a_damaged_folder_is_named_and_the_others_are_sent(bench, run_folders, store):
    bench(*SMALL, "figures=false", "tracking=none", check=0)
    bench(*SMALL, "figures=false", "tracking=none", "seed=8", check=0)
    good, bad = run_folders().values()
    (bad / "run.json").write_text('{"status": ')
    done = sync(bench, check=1)
    assert f"{bad}: {bad / 'run.json'}: not JSON" in done.stdout
    assert row(done, "finished") == [1, 1, 0, 0, 0]
    assert list(store()) == [good.name]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--outputs", "nowhere"], 2, "error: --outputs nowhere: no such folder"),
        (["--outputs", "."], 2, "error: --outputs .: no run in it"),
        (["--uri", "gopher://x"], 2, "error: --uri gopher://x: "),
        (["--uri", "http://127.0.0.1:9"], 1, "MLflow at http://127.0.0.1:9 does not answer ("),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, code, told):
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "task" / "model" / "baseline" / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    assert main(["sync", *words]) == code
    assert capsys.readouterr().err.startswith(told)


def test_a_folder_named_from_the_root_is_the_same_run(bench, run_folders, monkeypatch):
    """As the collector of a sweep names what its workers named from where they stood."""
    bench(*SMALL, check=0)
    (folder,) = run_folders().values()
    monkeypatch.chdir(bench.outputs.parent)
    near = Record.read(folder.relative_to(Path.cwd()))
    whole = Record.read(folder.absolute())
    assert near.stamp() == whole.stamp()
    assert whole.tags()["folder"] == str(near.folder)
