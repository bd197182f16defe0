"""`tool("check", "race", ...)` runs `python -m lalm_bench.data` as a user does."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT, environment


@pytest.fixture
def tool(tmp_path):
    def call(*words, check=None, env=None, max_file_kb=None):
        # A file that may not grow meets the same error path as a full disk.
        shell = ["bash", "-c", f'ulimit -f {max_file_kb}; exec "$@"', "bash"] if max_file_kb else []
        done = subprocess.run(
            [*shell, sys.executable, "-m", "lalm_bench.data", *map(str, words)],
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
