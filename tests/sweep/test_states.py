"""What is said of a cell, from its note and from SLURM's word; and SLURM's own lines."""

import time

import pytest

from lalm_bench.sweep import slurm
from lalm_bench.sweep.slurm import Fact
from lalm_bench.sweep.states import _word

OLD = 0.0


@pytest.mark.parametrize(
    ("note", "fact", "word"),
    [
        (None, Fact("PENDING", reason="Resources"), "queued"),
        (None, Fact("RUNNING"), "queued"),
        ("running", Fact("RUNNING"), "running"),
        ("waiting", Fact("RUNNING"), "running"),
        ("stopped", Fact("PENDING", reason="BeginTime", restarts=1), "requeued"),
        ("running", Fact("PENDING", restarts=1), "requeued"),
        ("running", Fact("COMPLETING"), "running"),
        ("running", Fact("FAILED", 137), "killed"),
        ("running", Fact("FAILED", 0, 9), "killed"),
        ("running", Fact("NODE_FAIL"), "killed"),
        ("running", Fact("OUT_OF_MEMORY", 0, 125), "killed"),
        ("stopped", Fact("TIMEOUT"), "killed"),
        ("stopped", Fact("PREEMPTED"), "preempted"),
        ("running", Fact("CANCELLED", 0, 15), "cancelled"),
        (None, Fact("CANCELLED"), "cancelled"),
        (None, Fact("FAILED", 137), "missing"),
        (None, None, "missing"),
        ("running", None, "missing"),
        ("done", Fact("FAILED", 1), "done"),
        ("done", None, "done"),
        ("failed", Fact("RUNNING"), "failed"),
        ("incomplete", Fact("COMPLETED"), "incomplete"),
    ],
)
def test_the_word_for_a_part(note, fact, word):
    assert _word({"state": note} if note else {}, fact, OLD)[0] == word


def test_a_job_that_slurm_has_not_seen_yet_is_queued():
    assert _word({}, None, time.time())[0] == "queued"


def test_a_line_of_squeue():
    """As SLURM 22.05 prints it: of an array's task, and of a job that is no array."""
    columns = ("{:24}{:24}{:24}{:24}{:16}{:8}{:64}").format
    line = columns("12", "3", "15", "FAILED", "35072", "2", "NonZeroExitCode")
    assert slurm._queued(line) == ("12_3", Fact("FAILED", 137, 0, 2, "NonZeroExitCode"))
    line = columns("13", "N/A", "13", "FAILED", "9", "0", "RaisedSignal:9(Killed)")
    assert slurm._queued(line) == ("13", Fact("FAILED", 0, 9, 0, "RaisedSignal:9(Killed)"))
    line = columns("16", "N/A", "16", "PENDING", "0", "0", "Resources")
    assert slurm._queued(line) == ("16", Fact("PENDING", reason="Resources"))
