"""A real SLURM cluster, a real MLflow server, and the command line as a user of both runs it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.conftest import ROOT
from tests.slurm.cluster import Cluster
from tests.slurm.command_line import CommandLine
from tests.slurm.tracking_server import TrackingServer

SLURM_LOCAL = ROOT / "launchers" / "slurm-local"


@pytest.fixture(scope="session")
def cluster():
    """`launchers/slurm-local`, started here unless it is up; what was up stays up.

    Never a cluster that SLURM_CONF names already: tests cancel and kill.
    """
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
    missing = [p for p in ("slurmd", "slurmctld", "sinfo") if not shutil.which(p, path=path)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not here (launchers/slurm-local install)")
    if os.geteuid() != 0:
        pytest.skip("a local SLURM cluster needs root")

    def slurm_local(command):
        done = subprocess.run([SLURM_LOCAL, command], capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr

    ours = slurm_local("status")[0] != 0
    code, said = slurm_local("start")
    assert code == 0, said
    conf = slurm_local("env")[1].strip().removeprefix("export SLURM_CONF=")
    yield Cluster(conf)
    if ours:
        slurm_local("stop")


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory):
    """`launchers/mlflow-server` on a port of its own; `.overrides(experiment)` for the runs."""
    server = TrackingServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def slurm_bench(cluster, tmp_path):
    """The command line, on the cluster, in a folder of its own: see `CommandLine`."""
    line = CommandLine(tmp_path, {"SLURM_CONF": cluster.conf})
    yield line
    line.end()
    cluster.cancel_below(tmp_path)
