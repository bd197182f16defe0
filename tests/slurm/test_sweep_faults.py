"""Everything that befalls a sweep, at once; and the table is what it would have been."""

import json
import os
import signal
import time

import pytest

from tests.slurm.cluster import until
from tests.slurm.sleepy import SMALL, WORDS

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

POISONED, KILLED, CANCELLED, PREEMPTED, TOO_LONG, QUIET = range(6)
ITEMS = 28
SWEEP = (
    *(*WORDS, "++model.cell=0,1,2,3,4,5", "hydra/launcher=slurm", *SMALL),
    *("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=20"),
)


def answers(folder):
    """Keys in the order in which they were answered."""
    files = folder.glob("responses*.jsonl")
    return [json.loads(line)["key"] for file in files for line in file.read_text().splitlines()]


class Watched:
    """A sweep that goes on elsewhere."""

    def __init__(self, line, name):
        self.folder = line.multirun / name

    def record(self):
        return json.loads((self.folder / "sweep.json").read_text())

    def run(self, cell):
        return self.folder.parent.parent / self.record()["cells"][cell]["folder"]

    def state(self, cell):
        file = self.run(cell) / "run.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def job(self, cell, submission=0):
        for job in self.record()["submissions"][submission]["jobs"]:
            if any(part["cell"] == cell for part in job["parts"]):
                return job["job"]
        raise AssertionError(f"cell {cell} was not sent")


def tracked(line):
    """Status of each tracked run, by fingerprint; one run each."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{line.outputs}/mlflow.db")
    experiment = client.get_experiment_by_name("lalm_bench")
    found = list(client.search_runs([experiment.experiment_id]))
    status = {run.data.tags["fingerprint"]: run.info.status for run in found}
    assert len(status) == len(found)
    return status


def test_the_final_table_is_the_undisturbed_sweeps(slurm_bench, cluster, tmp_path):
    """A poisoned cell, SIGKILL, scancel, preemption, a time limit, and a killed launcher."""
    trouble = tmp_path / "trouble"
    trouble.mkdir()
    (trouble / f"poison-{POISONED}").touch()
    for cell, pause in ((KILLED, 1), (CANCELLED, 1), (PREEMPTED, 1), (TOO_LONG, 2.2)):
        (trouble / f"delay-{cell}").write_text(str(pause))
    env = {"SLEEPY": str(trouble)}
    launcher = slurm_bench.start("-m", *SWEEP, "hydra.sweep.dir=multirun/hit", env=env)
    hit = Watched(slurm_bench, "hit")
    until(lambda: (hit.folder / "sweep.json").exists() and hit.record()["submissions"], 60, "start")
    slow = (KILLED, CANCELLED, PREEMPTED, TOO_LONG)
    until(
        lambda: all(len(answers(hit.run(cell))) > 2 for cell in slow), 90, "answers of every cell"
    )

    node = cluster.facts()[hit.job(PREEMPTED)]["NodeList"]
    cluster.submit(
        "sleep 5", "--partition=urgent", f"--nodelist={node}", "--exclusive", cwd=tmp_path
    )
    cluster.kill(hit.job(KILLED))
    cluster.cancel(hit.job(CANCELLED))
    began = time.monotonic()
    until(lambda: hit.state(KILLED)["status"] == "failed", 30, "the launcher to notice SIGKILL")
    assert time.monotonic() - began < 30
    assert hit.state(KILLED)["error"].startswith("killed")
    dead = hit.run(KILLED).name
    until(lambda: tracked(slurm_bench)[dead] == "FAILED", 20, "its tracked run to be closed")
    before = {cell: answers(hit.run(cell)) for cell in slow}
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()

    done = slurm_bench.sweep("status", "hit", "--wait", check=1, timeout=400)
    lines = {int(line.split()[0]): line.split() for line in done.stdout.splitlines()[1:7]}
    words = {cell: line[1] for cell, line in lines.items()}
    assert words == {
        POISONED: "failed",
        KILLED: "killed",
        CANCELLED: "cancelled",
        PREEMPTED: "done",
        TOO_LONG: "done",
        QUIET: "done",
    }
    assert "cell 0 is poisoned" in done.stdout
    assert "cell 0 is poisoned" in (hit.run(POISONED) / "traceback.txt").read_text()
    assert cluster.accounted(hit.job(POISONED))[0] == "FAILED"
    logs = slurm_bench.sweep("logs", "hit", str(POISONED), check=0).stdout
    assert "RuntimeError: cell 0 is poisoned" in logs
    assert hit.state(TOO_LONG)["starts"] > 1
    assert hit.state(PREEMPTED)["starts"] > 1
    assert int(cluster.facts()[hit.job(PREEMPTED)]["Restarts"]) >= 1
    assert set(tracked(slurm_bench).values()) <= {"FINISHED", "FAILED", "KILLED"}

    (trouble / f"poison-{POISONED}").unlink()
    slurm_bench.sweep("resume", "hit", check=0, env=env)
    sent = hit.record()["submissions"][1]["jobs"]
    assert sorted(p["cell"] for job in sent for p in job["parts"]) == [POISONED, KILLED, CANCELLED]
    slurm_bench.sweep("status", "hit", "--wait", check=0)
    slurm_bench.sweep("collect", "hit", check=0)
    for cell in range(6):
        keys = answers(hit.run(cell))
        assert len(keys) == ITEMS
        assert len(set(keys)) == ITEMS  # nothing was asked twice
        assert keys[: len(before.get(cell, ()))] == before.get(cell, [])  # and nothing was lost
    assert list(tracked(slurm_bench).values()) == ["FINISHED"] * 6

    calm = ("paths.outputs=calm", "tracking=none", "hydra.sweep.dir=multirun/calm")
    slurm_bench("-m", *SWEEP, *calm, check=0)
    tables = [(slurm_bench.multirun / name / "table.csv").read_text() for name in ("hit", "calm")]
    assert tables[0] == tables[1]
    assert tables[0].count("done") == 6
