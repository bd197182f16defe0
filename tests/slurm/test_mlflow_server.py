"""The recipe for a tracking server: says where it is, keeps what it got, ends when told."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.conftest import ROOT

RECIPE = ROOT / "launchers" / "mlflow-server"


def test_keeps_runs_over_a_restart_and_frees_its_port(mlflow_server):
    """On the session's server: nobody else asks it while this test runs."""
    client = mlflow_server.client()
    experiment = client.create_experiment("kept")
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "heard", "note.txt")
    mlflow_server.stop()
    assert mlflow_server.process.returncode == 0
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", mlflow_server.port))
    mlflow_server.start()
    assert [r.info.run_id for r in mlflow_server.runs("kept")] == [run]
    assert [a.path for a in client.list_artifacts(run)] == ["note.txt"]
    assert (mlflow_server.folder / "mlflow.db").is_file()


def test_pages_of_other_sites_cannot_reach_it(mlflow_server):
    """A page elsewhere whose name is made to point here (DNS rebinding) is refused."""
    asked = urllib.request.Request(mlflow_server.uri, headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(asked, timeout=10)


def test_bad_input_is_one_line(tmp_path):
    def refused(*words):
        done = subprocess.run(
            [sys.executable, RECIPE, *words], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"--port {port}" in refused("--port", port)
    (tmp_path / "file").touch()
    assert "--folder" in refused("--folder", "file")
    assert "--host" in refused("--host", "192.0.2.1")
