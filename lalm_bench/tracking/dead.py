"""Whether a run's process still lives, and what to write when it does not.

A killed process (SIGKILL, a lost node, the end of a grace period) writes nothing about its end. The
operating system releases its locks, though, and that is what is looked at here.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from lalm_bench import provenance
from lalm_bench.errors import Busy
from lalm_bench.store import RunFolder, read_json

KILLED = "killed"
_LOCKS = ".lock*"


def held(folder: Path) -> bool:
    """Whether a process works in the run's folder, or on a shard of it, on any host.

    Notes
    -----
    Asks for the lock in shared mode and gives it back at once: several may look at the same time,
    and nothing is written.
    """
    return any(_locked(lock) for lock in folder.glob(_LOCKS))


def _locked(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)  # releases the lock, too
    return False


def bury(folder: Path, reason: str = "") -> bool:
    """True when nobody works on the run; what says `running` and is dead is `failed` from now on.

    A shard that died is marked as well, also while others are at work. A run that waits for shards
    still to be asked is not dead.

    Parameters
    ----------
    folder : Path
    reason : str
        What is known of its end.

    Raises
    ------
    StoreError
        `run.json` is damaged.
    """
    state = read_json(folder / "run.json")
    if state is None:
        return False
    told = f"{KILLED}: {reason}" if reason else KILLED
    error = f"{told}; the same command continues where it left off"
    shards = [part for part in _parts(folder) if _left(folder, part)]
    dead = [part for part in shards if _mark(folder, part, error)]
    if held(folder):
        return False
    if state.get("status") == "running" and (dead or not _parts(folder) or _left(folder, "")):
        _mark(folder, "", f"shard {dead[0]}: {error}" if dead else error)
    return not held(folder)


def _parts(folder: Path) -> list[str]:
    """Names of the shards that have begun, as `2-of-4`."""
    return [p.name[len("run.") : -len(".json")] for p in sorted(folder.glob("run.*-of-*.json"))]


def _left(folder: Path, part: str) -> bool:
    """Whether the last holder left without taking its name along, as only the killed do."""
    ending = f".{part}" if part else ""
    return (folder / f".holder{ending}").exists() and not _locked(folder / f".lock{ending}")


def _mark(folder: Path, part: str, error: str) -> bool:
    """Write the end of a run or a shard that still says `running`; False when it is at work."""
    run = RunFolder(folder, part)
    try:
        with run:
            if run.state().get("status") != "running":  # it was begun again, and ended
                return False
            run.save_state(status="failed", finished=provenance.now(), error=error)
            return True
    except Busy:
        return False
