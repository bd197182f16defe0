"""The concurrent asker: bounds, order of events, early ends, errors; no network."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import subprocess
import sys
import threading
import time

import pytest

from lalm_bench.engine.concurrent import AdaptiveLimit, Limit, ask_concurrently
from tests.conftest import ROOT, environment


class Answerer:
    """Squares numbers after a while; knows how many it was asked at once, and whether it closed."""

    def __init__(self, seconds=0.0, fault=None):
        self.seconds, self.fault = seconds, fault
        self.busy = self.peak = self.asked = self.cancelled = self.opened = self.closed = 0

    @contextlib.asynccontextmanager
    async def __call__(self):
        self.opened += 1
        try:
            yield self.ask
        finally:
            self.closed += 1

    async def ask(self, number):
        self.asked += 1
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        try:
            await asyncio.sleep(self.seconds)
            if self.fault is not None and number == self.fault:
                raise LookupError(f"number {number}")
            return number * number
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.busy -= 1


def run(items, answerer, limit=4, workers=2, prepare=lambda n: n):
    return ask_concurrently(items, prepare, answerer, Limit(limit), workers)


def no_threads_left():
    return not [t for t in threading.enumerate() if t.name.startswith(("asking", "prepare"))]


@pytest.mark.parametrize(("limit", "workers"), [(1, 1), (4, 2), (64, 4)])
@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_every_item_is_answered_once(limit, workers, count):
    answerer = Answerer()
    assert sorted(run(range(count), answerer, limit, workers)) == [n * n for n in range(count)]
    assert answerer.asked == count
    assert answerer.peak <= limit
    assert (answerer.opened, answerer.closed) == (1, 1)
    assert no_threads_left()


def test_the_limit_is_reached_and_kept():
    answerer = Answerer(0.02)
    assert len(list(run(range(100), answerer, limit=8))) == 100
    assert answerer.peak == 8


def test_a_slow_answer_holds_nobody_up():
    async def ask(number):
        await asyncio.sleep(0.5 if number == 0 else 0.001)
        return number

    @contextlib.asynccontextmanager
    async def connect():
        yield ask

    order = list(run(range(30), connect))
    assert order[-1] == 0
    assert sorted(order) == list(range(30))


def test_items_are_drawn_lazily_in_the_consumers_thread():
    threads, drawn = set(), []

    def source():
        for n in range(1000):
            threads.add(threading.current_thread())
            drawn.append(n)
            yield n

    answers = run(source(), Answerer(), limit=4, workers=3)
    for taken in range(1, 50):
        next(answers)
        # In flight, being prepared, and the one that the consumer holds.
        assert len(drawn) <= taken - 1 + 4 + (2 * 3 + 4 // 4)
    answers.close()
    assert threads == {threading.current_thread()}


def test_at_most_the_limit_is_asked_beyond_what_the_consumer_has_dealt_with():
    answerer = Answerer()
    for dealt_with, _ in enumerate(run(range(300), answerer, limit=5)):
        time.sleep(0.002)  # time enough to run ahead, if anything did
        assert answerer.asked <= dealt_with + 5


def test_preparing_runs_in_threads_beside_each_other():
    meet = threading.Barrier(3, timeout=5)

    def prepare(number):
        meet.wait()
        return number

    assert len(list(run(range(9), Answerer(), workers=3, prepare=prepare))) == 9


def test_a_failed_ask_ends_everything_at_once():
    answerer = Answerer(0.01, fault=20)
    taken = []
    with pytest.raises(LookupError, match="number 20"):
        taken.extend(run(range(10_000), answerer))
    assert answerer.asked < 60
    assert answerer.busy == 0
    assert answerer.closed == 1
    assert no_threads_left()


def test_a_failed_preparation_surfaces():
    with pytest.raises(ZeroDivisionError):
        list(run(range(10), Answerer(), prepare=lambda n: 1 // (5 - n)))
    assert no_threads_left()


def test_a_failing_source_surfaces():
    def source():
        yield 1
        raise KeyError("source")

    with pytest.raises(KeyError):
        list(run(source(), Answerer(0.01)))
    assert no_threads_left()


def test_a_connection_that_cannot_be_opened_surfaces():
    @contextlib.asynccontextmanager
    async def connect():
        raise OSError("no route")
        yield

    with pytest.raises(OSError, match="no route"):
        list(run(range(3), connect))
    assert no_threads_left()


def test_closing_early_cancels_what_is_in_flight_and_is_quiet(recwarn, caplog):
    answerer = Answerer(30.0)

    async def first_soon(number):
        if number:
            return await answerer.ask(number)
        while answerer.busy < 15:
            await asyncio.sleep(0.001)
        return number

    @contextlib.asynccontextmanager
    async def connect():
        yield first_soon

    answers = run(range(100), connect, limit=16)
    assert next(answers) == 0
    began = time.monotonic()
    answers.close()
    assert time.monotonic() - began < 2
    assert answerer.cancelled == 15
    assert no_threads_left()
    gc.collect()
    assert not recwarn.list
    assert not caplog.records


def test_ctrl_c_ends_the_process_at_once_and_quietly(tmp_path):
    code = (
        "import asyncio, contextlib, sys\n"
        "from lalm_bench.engine.concurrent import Limit, ask_concurrently\n"
        "async def ask(n):\n"
        "    await asyncio.sleep(0 if n == 0 else 60)\n"
        "@contextlib.asynccontextmanager\n"
        "async def connect():\n"
        "    yield ask\n"
        "try:\n"
        "    for _ in ask_concurrently(range(99), lambda n: n, connect, Limit(32), 2):\n"
        "        print('first', flush=True)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(ROOT),
    )
    assert process.stdout.readline() == "first\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=5)
    assert (process.returncode, said) == (130, "")


def test_the_adaptive_limit_probes_halves_and_creeps():
    limit = AdaptiveLimit(now=4, most=40)
    for _ in range(16):
        limit.answered()
    assert limit.now == 20
    limit.overloaded(time.monotonic())
    assert limit.now == 10
    for _ in range(10):
        limit.answered()
    assert limit.now == 11  # a whole round for one more
    for _ in range(2000):
        limit.answered()
    assert limit.now == 40


def test_one_overload_halves_once_and_never_below_one():
    limit = AdaptiveLimit(now=16)
    began = time.monotonic()
    time.sleep(0.001)
    for _ in range(5):
        limit.overloaded(began)
    assert limit.now == 8
    for _ in range(9):
        limit.overloaded(time.monotonic())
    assert limit.now == 1


def test_the_adaptive_limit_finds_what_a_server_bears():
    """Overload is what lies above 12 at once; the limit must come to rest about there."""
    limit, busy, refused, seen = AdaptiveLimit(most=64), 0, 0, []

    async def ask(number):
        nonlocal busy, refused
        while True:
            began = time.monotonic()
            busy += 1
            try:
                if busy <= 12:
                    await asyncio.sleep(0.002)
                    limit.answered()
                    seen.append(limit.now)
                    return number
            finally:
                busy -= 1
            refused += 1
            limit.overloaded(began)
            await asyncio.sleep(0.002)

    @contextlib.asynccontextmanager
    async def connect():
        yield ask

    assert len(list(ask_concurrently(range(1500), lambda n: n, connect, limit, 2))) == 1500
    settled = seen[500:]
    assert 6 <= sum(settled) / len(settled) <= 13
    assert refused < 400
