"""An MLflow server to test against; it can be taken away and brought back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from tests.conftest import ROOT


class TrackingServer:
    """`launchers/mlflow-server` with its store below `folder`."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        """Start and wait until it answers; the same store and port each time."""
        command = [sys.executable, ROOT / "launchers" / "mlflow-server", "--folder", self.folder]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        said = self.process.stdout.readline()
        assert self.uri in said, (self.folder / "server.log").read_text()[-2000:]

    def stop(self):
        """End it; what it stored stays for the next start."""
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()

    def overrides(self, experiment="lalm_bench"):
        """Overrides of a run that tracks here."""
        return (f"tracking.uri={self.uri}", f"tracking.experiment={experiment}")

    def client(self):
        """An MlflowClient."""
        import mlflow

        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        return mlflow.MlflowClient(self.uri)

    def runs(self, experiment="lalm_bench", query=""):
        """All runs of an experiment."""
        client = self.client()
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return []
        return list(client.search_runs([found.experiment_id], query, max_results=5000))
