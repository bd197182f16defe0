"""`tool("check", "race", ...)` runs `python -m lalm_bench.data` as a user does."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT, environment


@pytest.fixture
def tool(tmp_path):
    def call(*words, check=None, env=None):
        done = subprocess.run(
            [sys.executable, "-m", "lalm_bench.data", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(ROOT) | (env or {}),
            timeout=120,
        )
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        return done

    return call
