"""What all tests share: an offline world, small clips, and runs in a folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import companions

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
companions.provide()

ROOT = Path(__file__).resolve().parent.parent


# Of whoever runs the tests; runs would report there.
os.environ.pop("MLFLOW_TRACKING_URI", None)


def environment(*first):
    """The environment of a child process: the folders `first`, then this process's own path."""
    path = [str(f) for f in first] + [os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in path if p), "COLUMNS": "120"}


SHARED_DATA = Path(os.environ.get("LALM_BENCH_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def shared_data():
    """Folder of real recordings; its tests skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real recordings are not here (set LALM_BENCH_TEST_DATA)")
    return SHARED_DATA


@pytest.fixture
def wav(tmp_path):
    """`wav(name, seconds=1.0, rate=16000, channels=1)` writes a tone and returns its path."""
    import soundfile

    def write(name="tone.wav", seconds=1.0, rate=16000, channels=1, pitch=440.0):
        t = np.arange(round(seconds * rate)) / rate
        wave = 0.3 * np.sin(2 * np.pi * pitch * t)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.stack([wave] * channels, 1), rate, subtype="PCM_16")
        return path

    return write


@pytest.fixture
def bench(tmp_path):
    """`bench("task=...", ...)` runs the command line in a subprocess; results go to tmp_path.

    Without tracking and figures, which cost more than such a run, unless they are asked for.
    """
    return _bench(tmp_path, "tracking=none", "figures=false")


@pytest.fixture
def tracked_bench(tmp_path):
    """`bench`, tracked as the command line tracks by itself."""
    return _bench(tmp_path)


def _bench(tmp_path, *defaults):
    def call(*overrides, check=None, timeout=240, env=None, path=(), python=()):
        done = subprocess.run(
            [
                *(sys.executable, *python, "-m", "lalm_bench"),
                *(w for w in overrides if w.startswith("-")),
                *(f"paths.outputs={tmp_path / 'outputs'}", f"paths.multirun={tmp_path / 'multi'}"),
                *(w for w in defaults if not any(w.partition("=")[0] in o for o in overrides)),
                *(w for w in overrides if not w.startswith("-")),
            ],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            env=environment(*path, ROOT) | (env or {}),
        )
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        return done

    call.outputs = tmp_path / "outputs"
    return call


@pytest.fixture
def run_folders(tmp_path):
    """All run folders below the results, by fingerprint."""

    def find():
        return {
            p.parent.name: p.parent
            for p in (tmp_path / "outputs").rglob("run.json")
            if "mlruns" not in p.parts
        }

    return find


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium: the one of the system, because playwright's own is a download."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright (pip install '.[dev]')")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium here (apt-get install chromium)")
    # Chromium has no sandbox for root; it sees our own pages only.
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=sandbox)
        yield chromium
        chromium.close()
