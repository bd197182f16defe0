"""What SLURM knows of jobs: the queue, and the accounting for what has left it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lalm_bench.errors import ConfigError

_TIMEOUT_S = 60
# In the order in which `_FORMAT` asks for them.
_FORMAT = "ArrayJobID:24,ArrayTaskID:24,JobID:24,State:24,exit_code:16,RestartCnt:8,Reason:64"
_ACTIVE = frozenset(
    {
        *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING"),
        *("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "STAGE_OUT", "SPECIAL_EXIT"),
    }
)
_WAITING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
_SIGKILL = 9


class Silent(Exception):  # noqa: N818 - the cluster's state, not an error of the input
    """SLURM does not answer."""


@dataclass(frozen=True)
class Fact:
    """One job as SLURM sees it.

    Parameters
    ----------
    state : str
        SLURM's word, e.g. `RUNNING`.
    code, signal : int
        How it ended.
    restarts : int
        How often it was put back into the queue.
    reason : str
        Why it waits.
    """

    state: str
    code: int = 0
    signal: int = 0
    restarts: int = 0
    reason: str = ""

    @property
    def active(self) -> bool:
        """It runs, or will."""
        return self.state in _ACTIVE

    @property
    def waiting(self) -> bool:
        """It is in the queue."""
        return self.state in _WAITING

    @property
    def killed(self) -> bool:
        """It was ended from outside: by a signal, its node, its limits."""
        lost = self.state in ("NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "TIMEOUT")
        return lost or self._by_sigkill

    @property
    def words(self) -> str:
        """For people."""
        if self.state == "FAILED" and self._by_sigkill:
            return "SIGKILL"
        return self.state.lower().replace("_", " ")

    @property
    def _by_sigkill(self) -> bool:
        """The job, or what its shell waited for: a shell then ends with 137, for sacct 9."""
        return _SIGKILL in (self.signal, self.code, self.code - 128)


def demand(commands: Sequence[str] = ("sbatch", "srun", "squeue", "scancel")) -> None:
    """ConfigError when SLURM's commands are not here."""
    if missing := [name for name in commands if shutil.which(name) is None]:
        raise ConfigError(
            f"no SLURM here ({', '.join(missing)} not on PATH): start the sweep where jobs are "
            "submitted, or use hydra/launcher=local_gpus"
        )


def facts(job_names: Iterable[str], ids: Iterable[str]) -> dict[str, Fact]:
    """Job id (`12_3`, or `12`) -> what is known of it; what SLURM has forgotten is left out.

    Parameters
    ----------
    job_names : iterable of str
        Names of submissions: asking for ids would be an error once one of them is forgotten.
    ids : iterable of str
        The accounting is asked for those that the queue does not show.

    Raises
    ------
    Silent
        The queue cannot be asked now.
    """
    names = sorted(set(job_names))
    if not names:
        return {}
    command = ["squeue", "--noheader", "--array", "--states=all", f"--name={','.join(names)}"]
    found = dict(map(_queued, _lines([*command, f"--Format={_FORMAT}"])))
    wanted = set(ids)
    if forgotten := sorted({job.partition("_")[0] for job in wanted - found.keys()}):
        found |= {job: fact for job, fact in _accounted(forgotten).items() if job not in found}
    return found


def _queued(line: str) -> tuple[str, Fact]:
    words = []
    for column in _FORMAT.split(","):
        width = int(column.partition(":")[2])
        words.append(line[:width].strip())
        line = line[width:]
    array, task, job, state, code, restarts, reason = words
    name = f"{array}_{task}" if task.isdigit() else job
    return name, Fact(state, *_ended(code), _int(restarts), reason)


def _accounted(ids: Sequence[str]) -> dict[str, Fact]:
    """From sacct; nothing where there is no accounting."""
    command = ["sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={','.join(ids)}"]
    try:
        lines = _lines([*command, "--format=JobID,State,ExitCode"])
    except Silent:
        return {}
    found = {}
    for line in lines:
        job, state, code = [*line.split("|"), "", ""][:3]
        # "CANCELLED by 1000"
        found[job] = Fact(state.partition(" ")[0], *_ended(code))
    return found


def longest_array() -> int:
    """Most tasks that one array may have here."""
    try:
        lines = _lines(["scontrol", "show", "config"])
    except Silent:
        return 1000
    sizes = [_int(line.partition("=")[2]) for line in lines if line.startswith("MaxArraySize")]
    return max(1, sizes[0]) if sizes else 1000


def cancel(ids: Iterable[str], job_names: Iterable[str] = ()) -> None:
    """Scancel jobs; those that have ended are no error.

    Raises
    ------
    Silent
        SLURM did not take it.
    """
    if wanted := sorted(set(ids)):
        _lines(["scancel", "--quiet", *wanted])
    for name in sorted(set(job_names)):
        _lines(["scancel", "--quiet", f"--name={name}"])


def _lines(command: Sequence[str]) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Silent(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit {done.returncode}"
        raise Silent(f"{command[0]}: {said}")
    return [line for line in done.stdout.splitlines() if line.strip()]


def _ended(text: str) -> tuple[int, int]:
    """Exit code and signal: sacct prints `code:signal`, squeue what wait(2) returns."""
    code, colon, signal = text.partition(":")
    if colon:
        return _int(code), _int(signal)
    return _int(code) >> 8, _int(code) & 0x7F


def _int(text: str) -> int:
    text = text.strip()
    return int(text) if text.isdigit() else 0
