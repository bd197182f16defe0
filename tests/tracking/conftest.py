"""A real MLflow server that tests may take away and bring back."""

import pytest

from tests.slurm.tracking_server import TrackingServer


@pytest.fixture
def server(tmp_path):
    """`launchers/mlflow-server` on a port of its own, started."""
    pytest.importorskip("mlflow")
    (tmp_path / "server").mkdir()
    server = TrackingServer(tmp_path / "server")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bench(tracked_bench):
    """Tracked: that is what these tests are about."""
    return tracked_bench
