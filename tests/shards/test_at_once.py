"""Shards of one run in several processes, at once or after a kill."""

import os
import signal
import subprocess
import sys
import time

import orjson
import pytest

from lalm_bench import run as running
from lalm_bench import shards
from lalm_bench.errors import Busy
from lalm_bench.store import RunFolder, at_work, read_json
from tests.conftest import ROOT, environment
from tests.shards.conftest import SMALL, in_shards, keys, same
from tests.test_run import rows, wait_for_answers


def launch(tmp_path, *words, code=None):
    command = ["-m", "lalm_bench"] if code is None else ["-c", code]
    return subprocess.Popen(
        [sys.executable, *command, *words, f"paths.outputs={tmp_path / 'outputs'}"],
        cwd=tmp_path,
        env=environment(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_four_at_once_score_once(start, tmp_path, run_folders):
    words = (*SMALL, "task.scenes=36", "model=signal")
    running = [launch(tmp_path, *words, "shards=4", f"shard={n}") for n in range(4)]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    (folder,) = run_folders().values()
    assert sum(f"finished: {folder}" in text for text in said) == 1
    assert sum("still missing" in text for text in said) == 3
    assert same(folder) == same(start("whole", *words))
    assert len(keys(folder)) == 252


MERGE = """
import sys, time
from hydra import compose, initialize_config_dir
from lalm_bench import cli
from lalm_bench.run import merge
with initialize_config_dir(cli.home("conf"), version_base="1.3"):
    config = compose("config", sys.argv[1:])
while time.time() < {at}:
    pass
merge(config)
"""


def test_two_mergers_at_once_do_no_harm(start, tmp_path, run_folders, monkeypatch):
    words = (*SMALL, "task.scenes=36")
    with monkeypatch.context() as patch:
        patch.setattr(running, "_score_shards", lambda experiment, *rest: str(experiment.folder))
        in_shards(start, "outputs", *words)
    code = MERGE.format(at=time.time() + 4)
    both = [launch(tmp_path, *words, "shards=3", "shard=0", code=code) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    (folder,) = run_folders().values()
    assert sorted(f"finished: {folder}" in text for text in said) == [False, True]
    assert any("finished by another shard" in text for text in said)
    assert same(folder) == same(start("whole", *words))


def test_a_killed_shard_loses_nothing_and_holds_nobody_up(start, tmp_path, run_folders):
    words = (*SMALL, "task.scenes=72", "model=signal", "shards=2")
    process = launch(tmp_path, *words, "shard=0")
    deadline = time.monotonic() + 60
    own = "responses.0-of-2.jsonl"
    while not any(len(keys(f.parent, own)) > 20 for f in tmp_path.rglob(own)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder,) = run_folders().values()
    kept = rows_that_end(folder / own)
    assert read_json(folder / "run.0-of-2.json")["status"] == "running"
    assert not at_work(folder)
    start("outputs", *words, "shard=1")
    state = read_json(folder / "run.json")
    assert (state["status"], state["shards"]) == ("running", ["1-of-2"])
    start("outputs", *words, "shard=0")
    assert rows(folder / own)[: len(kept)] == kept
    asked = keys(folder)
    assert len(asked) == len(set(asked)) == 504
    assert same(folder) == same(start("whole", *words[:-1]))


def rows_that_end(path):
    return [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_a_shard_that_fails_says_so_and_the_next_start_continues(start, monkeypatch):
    from lalm_bench.models.random import RandomModel

    answer = RandomModel.answer

    def failing(self, requests):
        for n, response in enumerate(answer(self, requests)):
            if n == 3:
                raise OSError("the device is gone")
            yield response

    start("split", *SMALL, "shards=3", "shard=0")
    with monkeypatch.context() as patch:
        patch.setattr(RandomModel, "answer", failing)
        with pytest.raises(OSError, match="gone"):
            start("split", *SMALL, "shards=3", "shard=1")
    folder = start("split", *SMALL, "shards=3", "shard=2")
    state = read_json(folder / "run.json")
    assert state["status"] == "failed"
    assert state["error"] == "shard 1-of-3: the device is gone"
    assert state["shards"] == ["0-of-3", "2-of-3"]
    assert "the device is gone" in (folder / "traceback.1-of-3.txt").read_text()
    assert len(keys(folder, "responses.1-of-3.jsonl")) == 3
    start("split", *SMALL, "shards=3", "shard=1")
    assert same(folder) == same(start("whole", *SMALL))
    assert not (folder / "traceback.1-of-3.txt").exists()


def test_a_whole_run_and_a_shard_exclude_each_other(start, tmp_path):
    folder = start("split", *SMALL, "shards=3", "shard=0")
    with RunFolder(folder, "1-of-3"):
        who = rf"shard 1-of-3 of this run \(process {os.getpid()} on .*, since 20"
        with pytest.raises(Busy, match=who):
            start("split", *SMALL)
        with pytest.raises(Busy, match=who):
            start("split", *SMALL, "shards=3", "shard=1")
        start("split", *SMALL, "shards=3", "shard=2")
    assert at_work(folder) == []


def test_a_shard_does_not_begin_beside_a_whole_run(start, tmp_path, run_folders, monkeypatch):
    monkeypatch.setattr(shards, "_BEGINNING_S", 0.3)
    words = (*SMALL, "task.scenes=144", "model=signal")
    process = launch(tmp_path, *words)
    wait_for_answers(process, tmp_path, 20)
    with pytest.raises(Busy, match=rf"on this run \(process {process.pid} on"):
        start("outputs", *words, "shards=2", "shard=0")
    assert process.poll() is None, "it ended too early to be in the way"
    process.kill()
    process.communicate()
    (folder,) = run_folders().values()
    assert not list(folder.glob("*-of-*"))
    start("outputs", *words, "shards=2", "shard=0")


def test_a_sweep_over_the_shards(bench, run_folders, start):
    done = bench("-m", *SMALL, "shards=4", "shard=0,1,2,3", check=0)
    (folder,) = run_folders().values()
    assert "these are still missing: 1, 2, 3" in done.stdout
    assert f"finished: {folder}" in done.stdout
    assert same(folder) == same(start("whole", *SMALL))
