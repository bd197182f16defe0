"""`python -m lalm_bench` and its modules, as a user in some folder runs them."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT, environment


class CommandLine:
    """Runs in `folder`: results in `outputs`, sweeps in `multirun`, generated data in `data`."""

    def __init__(self, folder, env):
        self.folder = folder
        self.outputs = folder / "outputs"
        self.multirun = folder / "multirun"
        self.env = env
        self.started = []

    def __call__(self, *words, module="lalm_bench", check=None, timeout=280, env=None, path=()):
        """Run to the end; `check` is the exit code that must come out."""
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.folder,
            env=self._environment(env, path),
        )
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def sweep(self, command, name, *words, **options):
        """`python -m lalm_bench.sweep COMMAND NAME ...`."""
        return self(command, name, *words, module="lalm_bench.sweep", **options)

    def start(self, *words, module="lalm_bench", env=None, path=()):
        """Start and come back: a Popen; what it says goes to `<folder>/said.<n>.txt`."""
        with (self.folder / f"said.{len(self.started)}.txt").open("w") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self._environment(env, path),
            )
        process.said = lambda: (self.folder / said.name).read_text()
        self.started.append(process)
        return process

    def runs(self):
        """Folders of all runs, by fingerprint."""
        found = (p.parent for p in self.outputs.rglob("run.json") if "mlruns" not in p.parts)
        return {folder.name: folder for folder in found}

    def end(self):
        """Kill what is still running of what was started."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _environment(self, env, path):
        return environment(*path, ROOT) | self.env | (env or {})
