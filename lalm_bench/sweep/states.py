"""What became of each cell: told from the run folders, the jobs' notes, and SLURM."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lalm_bench.store import read_json
from lalm_bench.sweep import slurm, worker
from lalm_bench.sweep.record import Cell, Part, Sweep
from lalm_bench.sweep.slurm import Fact
from lalm_bench.tracking import reconcile

DONE, INCOMPLETE, FAILED = worker.DONE, worker.INCOMPLETE, worker.FAILED
RUNNING, QUEUED = "running", "queued"
# Begun, and put back into the queue: by a preemption, the time limit, or the loss of a node.
REQUEUED = "requeued"
PREEMPTED, CANCELLED, KILLED, MISSING = "preempted", "cancelled", "killed", "missing"
# What is on its way.
ACTIVE = (RUNNING, QUEUED, REQUEUED)
# From best to worst, for a cell of several parts.
ALL = (DONE, *ACTIVE, INCOMPLETE, FAILED, PREEMPTED, CANCELLED, KILLED, MISSING)
# A job that was just submitted may be unknown for a moment.
_NEW_S = 60.0


@dataclass(frozen=True)
class State:
    """Of one cell.

    Parameters
    ----------
    cell : Cell
    word : str
        One of `ALL`.
    job : str
        The newest job it was sent with; empty when it was not sent.
    seconds : float or None
        Worked on so far.
    detail : str
        Why, where there is something to say.
    log : str
        The job's.
    """

    cell: Cell
    word: str
    job: str = ""
    seconds: float | None = None
    detail: str = ""
    log: str = ""


def look(sweep: Sweep) -> list[State]:
    """The state of every cell, in order; dead runs are put right on the way.

    Raises
    ------
    Silent
        SLURM does not answer.
    """
    known = facts(sweep)
    found: dict[int, State] = {}
    for cell in sweep.cells:
        if cell.same_as is not None:
            same = found[cell.same_as]
            found[cell.number] = State(cell, same.word, same.job, None, f"is cell {cell.same_as}")
        else:
            found[cell.number] = _state(sweep, cell, known)
    return list(found.values())


def facts(sweep: Sweep) -> dict[str, Fact]:
    """What SLURM knows of the sweep's jobs."""
    ids = {job.job for _, job in sweep.jobs()}
    return slurm.facts([s.job_name for s in sweep.submissions], ids)


def _state(sweep: Sweep, cell: Cell, known: dict[str, Fact]) -> State:
    """Of all parts of a cell: what is worst, unless the run is finished."""
    states = [_part(sweep, cell, part, known) for part in cell.parts]
    worst = max(states, key=lambda s: ALL.index(s.word))
    status = _run_status(sweep, cell)
    if status == "finished" and not any(s.word in ACTIVE for s in states):
        worst = State(cell, DONE, worst.job, worst.seconds, "", worst.log)
    elif worst.word == DONE and cell.folder is not None:
        # Its jobs ended well; what is wanting is another shard, the merging, or the folder itself.
        detail = f"its run is {status or 'not there'}"
        worst = State(cell, INCOMPLETE, worst.job, worst.seconds, detail, worst.log)
    seconds = [s.seconds for s in states if s.seconds is not None]
    if worst.word in (PREEMPTED, CANCELLED, KILLED, MISSING) and (folder := sweep.run_folder(cell)):
        reconcile(folder, worst.detail or worst.word)
    return State(
        cell, worst.word, worst.job, sum(seconds) if seconds else None, worst.detail, worst.log
    )


def _part(sweep: Sweep, cell: Cell, part: Part, known: dict[str, Fact]) -> State:
    sent = sweep.last_job(part)
    if sent is None:
        return State(cell, DONE if cell.finished else MISSING, detail="not sent")
    submission, job = sent
    note = sweep.note(part)
    current = note.get("submission") == submission.number and note.get("job") == job.job
    fact = known.get(job.job)
    word, detail = _word(note if current else {}, fact, submission.at)
    return State(cell, word, job.job, note.get("seconds"), detail, job.log)


def _word(note: dict[str, Any], fact: Fact | None, sent_at: float) -> tuple[str, str]:
    """State and detail of a part, from its note of this job and what SLURM says of the job."""
    said = note.get("state")
    if said in (DONE, INCOMPLETE, FAILED):
        return said, str(note.get("error", ""))
    if fact is None:
        if time.time() - sent_at < _NEW_S:
            return QUEUED, ""
        return MISSING, "SLURM does not know its job any more"
    if fact.active:
        if fact.waiting:
            why = fact.reason if fact.reason != "None" else ""
            return (REQUEUED if said else QUEUED), why
        return (QUEUED, "waits in its job") if said is None else (RUNNING, "")
    if fact.state == "CANCELLED":
        return CANCELLED, "cancelled"
    if fact.state == "PREEMPTED":
        return PREEMPTED, "preempted, and not put back into the queue"
    if said is None:
        return MISSING, f"its job ended before it: {fact.words}"
    return KILLED, fact.words


def _run_status(sweep: Sweep, cell: Cell) -> str | None:
    folder = sweep.run_folder(cell)
    if folder is None:
        return None
    status = (read_json(folder / "run.json") or {}).get("status")
    return None if status is None else str(status)


def undone(sweep: Sweep, states: Sequence[State]) -> list[Part]:
    """Parts that have no result and that no job is on its way to."""
    parts = []
    for state in states:
        if state.word in (DONE, *ACTIVE):
            continue
        own = state.cell.parts
        lost = [part for part in own if sweep.note(part).get("state") != DONE]
        parts += lost or own  # all shards were asked, and yet there is no result: again
    return parts


def summary(states: Sequence[State]) -> str:
    """`12 of 40 done, 4 running, 24 queued`."""
    count = Counter(state.word for state in states)
    words = [f"{count[DONE]} of {len(states)} done"]
    return ", ".join(words + [f"{count[word]} {word}" for word in ALL[1:] if count[word]])


def table(sweep: Sweep, states: Sequence[State]) -> str:
    """One line a cell, then the reasons of those that have no result."""
    head = ("cell", "state", "job", "seconds", "settings", "log")
    rows = [
        (
            *(str(s.cell.number), s.word, s.job or "-"),
            "-" if s.seconds is None else f"{s.seconds:.1f}",
            *(" ".join(sweep.settings(s.cell)), s.log or "-"),
        )
        for s in states
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    lines += [
        f"cell {s.cell.number} {s.word}: {s.detail}" for s in states if s.detail and s.word != DONE
    ]
    return "\n".join([*lines, summary(states), ""])
