"""Asked to stop, a run ends at a safe place: what is in hand is stored, the rest asked later."""

import asyncio
import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest
from hydra import compose, initialize_config_dir

from lalm_bench import stopping
from lalm_bench.engine.concurrent import Limit, ask_concurrently
from lalm_bench.errors import BenchError, Stopped
from lalm_bench.run import run
from tests.conftest import ROOT, environment
from tests.engine.test_stream import Network, answered, request
from tests.engine.test_stream import run as stream
from tests.models.conftest import checkpoint
from tests.models.test_end_to_end import NOTING, tiny
from tests.test_run import only, results, rows, wait_for_answers

__all__ = ["checkpoint"]
QUIET = ("tracking=none", "figures=false")


@pytest.fixture(autouse=True)
def _nothing_requested():
    yield
    stopping.forget()


# ------------------------------------------------------------------ the request


def test_the_first_reason_stands():
    stopping.check()
    assert stopping.requested() is None
    stopping.request("preempted")
    stopping.request("SIGTERM")
    assert stopping.requested() == "preempted"
    with pytest.raises(Stopped) as caught:
        stopping.check()
    assert caught.value.reason == "preempted"
    assert not isinstance(caught.value, BenchError)
    assert pickle.loads(pickle.dumps(caught.value)).reason == "preempted"
    stopping.forget()
    stopping.check()


def test_signals_become_requests_and_their_handlers_come_back():
    met = []
    before = signal.signal(signal.SIGUSR2, lambda *args: met.append(args))
    try:
        with stopping.listening(signal.SIGTERM, signal.SIGUSR2):
            os.kill(os.getpid(), signal.SIGUSR2)
            assert stopping.requested() == "SIGUSR2"
            os.kill(os.getpid(), signal.SIGTERM)  # at once: the same request by another way
            assert stopping.requested() == "SIGUSR2"
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGUSR2)
        assert len(met) == 1
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_second_signal_waits_for_nothing(monkeypatch):
    monkeypatch.setattr(stopping, "_TWICE_S", 0.05)

    def twice():
        with stopping.listening(signal.SIGTERM):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("it waited")

    with pytest.raises(Stopped, match="SIGTERM"):
        twice()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_only_the_main_thread_can_listen():
    with pytest.raises(ValueError, match="main thread"):
        _elsewhere(lambda: stopping.listening(signal.SIGTERM).__enter__())


def _elsewhere(act):
    raised = []

    def work():
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    raise raised[0]


# ------------------------------------------------------------------ batches


def test_the_batch_in_hand_is_yielded_and_no_other_begun():
    requests = [request(n) for n in range(20)]
    network, got = Network(), []
    with pytest.raises(Stopped):
        _collect(_stream(network, requests), got, 5)  # the first of the second batch
    assert answered(got, requests[:8]) == {f"k{n}" for n in range(8)}
    assert len(network.batches) == 2


def test_a_batch_that_grows_is_answered_as_far_as_it_has_grown():
    requests = [request(n) for n in range(20)]
    network, got, compared = Network(), [], []

    def alike(item):
        compared.append(item)
        if len(compared) == 10:
            stopping.request("enough")
        return 0

    with pytest.raises(Stopped):
        _collect(_stream(network, requests, alike=alike, batch_size=16), got)
    assert [len(batch) for batch in network.batches] == [len(got)]
    assert 4 <= len(got) < 16
    answered(got, requests[: len(got)])


def _collect(responses, into, stop_at=None):
    """Take all responses, and ask to stop when there are `stop_at`."""
    for response in responses:
        into.append(response)
        if len(into) == stop_at:
            stopping.request("enough")


def test_a_stop_after_the_last_answer_is_none_of_the_streams_business():
    network, got = Network(), []
    for response in _stream(network, [request(n) for n in range(4)]):
        got.append(response)
        stopping.request("late")
    assert len(got) == 4


def _stream(network, requests, **given):
    from lalm_bench.engine import stream as module
    from lalm_bench.engine.budget import Budget
    from lalm_bench.types import Runtime
    from tests.engine.test_stream import CPU, prepared

    options = {
        "runtime": Runtime("cpu", given.pop("batch_size", 4), 2),
        "budget": Budget(CPU, None),
        "traffic": module.Traffic(),
        **given,
    }
    return module.stream(requests, prepared(), network.begin, **options)


def test_a_request_before_the_first_batch_answers_nothing():
    stopping.request("early")
    network = Network()
    with pytest.raises(Stopped):
        stream(network)
    assert not network.batches


# ------------------------------------------------------------------ asks


def test_asks_in_flight_are_awaited_and_no_new_one_is_started():
    begun, ended = [], []

    @contextlib.asynccontextmanager
    async def connect():
        async def ask(number):
            begun.append(number)
            await asyncio.sleep(0.05)
            ended.append(number)
            return number

        yield ask

    got = []
    with pytest.raises(Stopped):
        _collect(ask_concurrently(range(1000), lambda n: n, connect, Limit(8), 2), got, 12)
    assert len(begun) <= 11 + 8, "more than had been dealt with or was in flight"
    assert sorted(got) == sorted(ended) == sorted(begun)
    assert not [t for t in threading.enumerate() if t.name.startswith(("asking", "prepare"))]


def test_a_stop_while_all_is_still_being_prepared_ends_without_an_ask():
    begun = []

    @contextlib.asynccontextmanager
    async def connect():
        async def ask(number):
            begun.append(number)

        yield ask

    def prepare(number):
        stopping.request("enough")
        return number

    with pytest.raises(Stopped):
        list(ask_concurrently(range(10), prepare, connect, Limit(8), 1))
    assert not begun


# ------------------------------------------------------------------ whole runs


def launch(tmp_path, *words, code=None):
    command = ["-m", "lalm_bench"] if code is None else ["-c", code]
    return subprocess.Popen(
        [sys.executable, *command, *words, "paths.outputs=outputs", "paths.multirun=multi"],
        cwd=tmp_path,
        env=environment(ROOT),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def stopped(process):
    """What it said, having ended as one that was asked to."""
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "stopped; the same command continues where it left off" in said.splitlines()
    assert "Traceback" not in said
    return said


def test_sigterm_stops_a_run_and_the_same_command_continues(bench, run_folders, tmp_path):
    words = ("task.scenes=72", *QUIET)
    bench(*words, "paths.outputs=whole", check=0)
    (whole,) = (p.parent for p in (tmp_path / "whole").rglob("run.json"))
    process = launch(tmp_path, *words)
    wait_for_answers(process, tmp_path, 20)
    process.send_signal(signal.SIGTERM)
    stopped(process)
    folder = only(run_folders())
    state = json.loads((folder / "run.json").read_text())
    assert (state["status"], state["error"]) == ("stopped", "SIGTERM")
    assert not (folder / "traceback.txt").exists()
    assert not (folder / ".holder").exists()
    kept = rows(folder / "responses.jsonl")
    assert 20 <= len(kept) < 504
    bench(*words, "paths.outputs=outputs", check=0)
    after = rows(folder / "responses.jsonl")
    assert after[: len(kept)] == kept
    assert len({r["key"] for r in after}) == len(after) == 504
    assert results(folder) == results(whole)


def test_every_batch_that_was_answered_is_stored(bench, run_folders, tmp_path, checkpoint):
    words = (*QUIET, *tiny(checkpoint, "qwen2_audio"), "task.scenes=6", "runtime.batch_size=4")
    process = launch(tmp_path, *words, code=NOTING)
    wait_for_answers(process, tmp_path, 9)
    process.send_signal(signal.SIGTERM)
    stopped(process)
    folder = only(run_folders())
    kept = rows(folder / "responses.jsonl")
    batches = [int(size) for size in (tmp_path / "batches.log").read_text().split()]
    assert sum(batches) == len(kept) < 42
    bench(*words, "paths.outputs=outputs", check=0)
    assert len(rows(folder / "responses.jsonl")) == len(rows(folder / "decisions.jsonl")) == 42


def test_a_shard_that_was_stopped_says_so(bench, run_folders, tmp_path):
    words = ("task.scenes=144", *QUIET, "shards=2")
    process = launch(tmp_path, *words, "shard=1")
    deadline = time.monotonic() + 60
    own = "responses.1-of-2.jsonl"
    while not any(p.read_bytes().count(b"\n") > 20 for p in tmp_path.rglob(own)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    stopped(process)
    folder = only(run_folders())
    state = json.loads((folder / "run.json").read_text())
    assert (state["status"], state["error"]) == ("stopped", "shard 1-of-2: SIGTERM")
    bench("-m", *words, "shard=0,1", "paths.outputs=outputs", check=0)
    assert len(rows(folder / "decisions.jsonl")) == 1008
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"


def test_sigterm_ends_a_sweep_and_not_only_its_cell(run_folders, tmp_path):
    words = ("-m", "model=signal", "task.scenes=144", "seed=1,2,3", *QUIET)
    process = launch(tmp_path, *words)
    wait_for_answers(process, tmp_path, 20)
    process.send_signal(signal.SIGTERM)
    stopped(process)
    folder = only(run_folders())
    assert json.loads((folder / "run.json").read_text())["status"] == "stopped"


def test_a_tracked_run_is_killed_and_then_finished(bench, run_folders, tmp_path):
    import mlflow

    words = ("task.scenes=144", "figures=false", f"tracking.uri=sqlite:///{tmp_path}/m.db")
    process = launch(tmp_path, *words)
    wait_for_answers(process, tmp_path, 20)
    process.send_signal(signal.SIGTERM)
    stopped(process)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/m.db")

    def tracked():
        (experiment,) = [e for e in client.search_experiments() if e.name == "lalm_bench"]
        (one,) = client.search_runs([experiment.experiment_id])
        return one.info.run_id, one.info.status

    name, status = tracked()
    assert status == "KILLED"
    bench(*words, "paths.outputs=outputs", check=0)
    assert tracked() == (name, "FINISHED")


def test_nothing_is_begun_once_it_was_asked_to_stop(tmp_path):
    stopping.request("SIGUSR2")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", ["model=random", *QUIET, f"paths.outputs={tmp_path / 'o'}"])
    with pytest.raises(Stopped):
        run(config)
    assert not (tmp_path / "o").exists()
