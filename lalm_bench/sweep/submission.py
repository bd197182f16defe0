"""Sending parts of a sweep to SLURM."""

from __future__ import annotations

import io
import secrets
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from lalm_bench.errors import ConfigError, one_line
from lalm_bench.sweep import slurm
from lalm_bench.sweep.packing import packs
from lalm_bench.sweep.record import Job, Part, Submission, Sweep
from lalm_bench.sweep.settings import Settings
from lalm_bench.sweep.worker import Assignment, Pack, Worker


def send(sweep: Sweep, parts: Sequence[Part]) -> Submission:
    """Submit `parts` as array jobs and record them; returns when they are queued.

    Raises
    ------
    ConfigError
        There is no SLURM here, or it refuses the jobs. The record is as before.
    """
    import submitit

    slurm.demand()
    settings = Settings.of(sweep.launcher)
    number = len(sweep.submissions) + 1
    job_name = f"{settings.name}-{sweep.name}-{number}-{secrets.token_hex(3)}"
    models = {cell.number: cell.model for cell in sweep.cells}
    assigned = packs(parts, models, settings.pack, settings.jobs)
    folder = sweep.folder / "jobs"
    submission = Submission(number, job_name, time.time())
    sweep.submissions.append(submission)
    sweep.save()  # so that the jobs can be found by name, whatever happens next
    try:
        folder.mkdir(exist_ok=True)
        executor = submitit.SlurmExecutor(
            folder, max_num_timeout=settings.max_num_timeout, python=settings.python
        )
        executor.update_parameters(**settings.executor_parameters(job_name))
        longest = slurm.longest_array()
        for start in range(0, len(assigned), longest):
            chunk = assigned[start : start + longest]
            tasks = [_pack(sweep, number, parts) for parts in chunk]
            with redirect_stderr(io.StringIO()):  # submitit repeats what sbatch says
                jobs = executor.map_array(Worker(), tasks)
            submission.jobs += [_job(job, parts) for job, parts in zip(jobs, chunk, strict=True)]
            sweep.save()
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        if not submission.jobs:
            sweep.submissions.remove(submission)
            sweep.save()
        raise ConfigError(
            f"SLURM refuses the jobs: {_reason(error)}; see hydra.launcher.partition, account, "
            "gpus_per_node, mem_gb, timeout_min"
        ) from error
    return submission


def _pack(sweep: Sweep, submission: int, parts: Sequence[Part]) -> Pack:
    cells = sweep.cells
    assignments = []
    for part in parts:
        words = cells[part.cell].overrides
        if part.shard is not None:
            words = (*words, f"shard={part.shard}")
        assignments.append(Assignment(part.cell, part.note, words))
    return Pack(
        str(sweep.folder),
        sweep.cwd,
        submission,
        sweep.config_name,
        tuple(sweep.hydra),
        tuple(assignments),
    )


def _job(job: Any, parts: tuple[Part, ...]) -> Job:
    return Job(str(job.job_id), str(Path(job.paths.stdout)), parts)


def _reason(error: Exception) -> str:
    """What sbatch said, of what submitit says around it."""
    text = one_line(error)
    _, found, said = text.rpartition("sbatch: error: ")
    return said if found else text


def unsent(sweep: Sweep) -> list[str]:
    """Names of submissions that may have jobs which the record does not know."""
    return [s.job_name for s in sweep.submissions if not s.jobs]


def resend(sweep: Sweep, parts: Sequence[Part], changes: dict[str, Any]) -> Submission:
    """Send parts again, with some settings of the launcher changed; the record keeps them.

    Raises
    ------
    ConfigError
        As `send`; the settings are as before.
    """
    before = sweep.launcher
    sweep.launcher = Settings.of({**before, **changes}).json()
    if lost := unsent(sweep):
        slurm.cancel([], lost)
    try:
        return send(sweep, parts)
    except ConfigError:
        sweep.launcher = before
        sweep.save()
        raise
