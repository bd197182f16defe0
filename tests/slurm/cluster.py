"""What tests ask of a SLURM cluster, and do to its jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}


class Cluster:
    """The cluster of one slurm.conf. A job is an id as SLURM prints it: `12` or `12_3`."""

    def __init__(self, conf):
        self.conf = conf
        self.env = {**os.environ, "SLURM_CONF": conf}

    def run(self, *command, cwd=None, check=True):
        """Run a command with the cluster's environment; what it printed."""
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.env, cwd=cwd, timeout=120
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def submit(self, script, *options, cwd):
        """Sbatch a shell script; its job id."""
        return self.run("sbatch", "--parsable", *options, "--wrap", script, cwd=cwd)

    def facts(self):
        """All that the controller knows, by job id: JobState, Restarts, NodeList, WorkDir, ..."""
        jobs = {}
        for line in self.run("scontrol", "-o", "show", "job").splitlines():
            fact = dict(word.split("=", 1) for word in line.split(" ") if "=" in word)
            if "JobId" not in fact:
                continue
            name = fact["JobId"]
            if "ArrayTaskId" in fact:
                # Tasks that wait are one line: "8-9%10".
                task, _, _ = fact["ArrayTaskId"].partition("%")
                name = f"{fact['ArrayJobId']}_{task if task.isdigit() else f'[{task}]'}"
            jobs[name] = fact
        return jobs

    def below(self, folder):
        """The facts of the jobs that were submitted from `folder` or below it, by job id."""
        folder = Path(folder).resolve()
        return {
            job: fact
            for job, fact in self.facts().items()
            if Path(fact.get("WorkDir", "")).is_relative_to(folder)
        }

    def state(self, job):
        """PENDING, RUNNING, COMPLETED, ...; None for a job that the controller forgot."""
        fact = self.facts().get(job)
        return fact["JobState"] if fact else None

    def accounted(self, job):
        """State and exit code in the accounting, e.g. ("FAILED", "1:0"); None until it is there."""
        line = self.run("sacct", "-n", "-P", "-X", "-j", job, "-o", "state,exitcode")
        state, _, code = line.partition("|")
        return (state.split()[0], code) if state else None

    def wait(self, job, *states, seconds=120):
        """Wait until a job is in one of `states` (default: ended); the state."""
        wanted = set(states) or ENDED
        return until(lambda: (s := self.state(job)) in wanted and s, seconds, f"{job} in {wanted}")

    def processes(self, job):
        """Process ids of a running job, parents first."""
        fact = self.facts()[job]
        lines = self.run("scontrol", "listpids", fact["JobId"], fact["NodeList"]).splitlines()[1:]
        return sorted({int(line.split()[0]) for line in lines if int(line.split()[0]) > 0})

    def kill(self, job):
        """SIGKILL the processes of a job; its shell first, which could still speak of a child."""
        for pid in self.processes(job):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def cancel(self, *jobs):
        """Scancel."""
        self.run("scancel", *jobs)

    def cancel_below(self, folder):
        """Scancel what is left of a folder's jobs, and wait until it is gone."""

        def left():
            return [job for job, f in self.below(folder).items() if f["JobState"] not in ENDED]

        if jobs := left():
            self.cancel(*jobs)
            until(lambda: not left(), 60, "cancelled jobs to end")


def until(holds, seconds, what, every=0.3):
    """Ask until `holds()` is true; its value. Fails, naming `what`, after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(every)
    return value
