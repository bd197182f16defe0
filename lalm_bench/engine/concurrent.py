"""Ask a slow, remote answerer many things at once: a bounded number, off the caller's thread.

The caller's thread alone decides what is drawn and what is asked, so nothing here needs a lock:
worker threads prepare, an event loop in a thread of its own asks, and both report to one queue.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from lalm_bench import stopping

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")
Connect = Callable[[], AbstractAsyncContextManager[Callable[[Ready], Coroutine[Any, Any, Result]]]]


@dataclass
class Limit:
    """At most `now` in flight, whatever happens."""

    now: int

    @property
    def ceiling(self) -> int:
        """Most that `now` can become."""
        return self.now

    def answered(self) -> None:
        """Note an answer."""

    def overloaded(self, began: float) -> None:
        """Note that an ask which began at `began` (monotonic seconds) was too much to bear."""


@dataclass
class AdaptiveLimit(Limit):
    """Additive increase, multiplicative decrease, between 1 and `most`, from `now`.

    It grows by one an answer until the first overload, then by one a round of answers; an overload
    halves it. Asks that began before the last halving say nothing about the present and count not.
    """

    now: int = 8
    most: int = 256

    _probing: bool = field(default=True, init=False)
    _answers: int = field(default=0, init=False)
    _halved: float = field(default=0.0, init=False)

    @property
    def ceiling(self) -> int:
        """Most that `now` can become."""
        return self.most

    def answered(self) -> None:
        """Grow."""
        self._answers += 1
        if self._probing or self._answers >= self.now:
            self._answers = 0
            self.now = min(self.now + 1, self.most)

    def overloaded(self, began: float) -> None:
        """Halve, once for all asks of one overload."""
        if began >= self._halved:
            self.now = max(self.now // 2, 1)
            self._probing, self._answers, self._halved = False, 0, time.monotonic()


def ask_concurrently(
    items: Iterable[Item],
    prepare: Callable[[Item], Ready],
    connect: Connect[Ready, Result],
    limit: Limit,
    workers: int,
) -> Generator[Result]:
    """Answers to `items`, each as soon as it is there, in any order.

    Parameters
    ----------
    items : iterable
        Drawn lazily, in the consumer's thread: at most `2 * workers` and a quarter of the limit are
        being prepared or wait to be asked, which bounds the memory.
    prepare : callable
        Called from worker threads.
    connect : callable
        Gives an async context, opened and closed once inside the event loop; its value is the
        coroutine function that asks. What all asks share, such as connections, is made there.
    limit : Limit
        An item is in flight from the start of its ask until the consumer, having got the answer,
        comes back for more. So a kill loses at most `limit.now` answers.
    workers : int
        Threads that prepare.

    Raises
    ------
    Exception
        Whatever `items`, `prepare`, `connect` or an ask raises, when all other work is cancelled.
        What should not end everything must be returned.
    Stopped
        It was requested: nothing more was asked, and all that was in flight is yielded.
    """
    events: SimpleQueue[Any] = SimpleQueue()
    waiting: deque[Ready] = deque()
    preparing = in_flight = 0
    source, drained = iter(items), False
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(workers, thread_name_prefix="prepare")
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        asking = _Asking(connect, events)
        stack.callback(asking.close)
        asking.open()
        while True:
            if stopping.requested():
                waiting.clear()
                drained = True
                if not in_flight:
                    stopping.check()
            while waiting and in_flight < limit.now:
                asking.start(waiting.popleft())
                in_flight += 1
            depth = 2 * workers + limit.now // 4
            while not drained and preparing + len(waiting) < depth:
                try:
                    item = next(source)
                except StopIteration:
                    drained = True
                    break
                pool.submit(prepare, item).add_done_callback(events.put)
                preparing += 1
            if not (waiting or preparing or in_flight):
                return
            done = events.get()
            if isinstance(done, asyncio.Task):
                yield done.result()
                in_flight -= 1
            else:
                waiting.append(done.result())
                preparing -= 1


class _Asking(Generic[Ready, Result]):
    """An event loop in a thread of its own; every ask that ends goes to `events` as its task."""

    def __init__(self, connect: Connect[Ready, Result], events: SimpleQueue[Any]) -> None:
        self._connect, self._events = connect, events
        self._tasks: set[asyncio.Task[Result]] = set()
        self._opened: Future[None] = Future()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="asking")
        self._served = self._thread.submit(lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._connect() as self._ask:
            self._opened.set_result(None)
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def open(self) -> None:
        """Wait until asks can start; raises what opening the connection raised."""
        wait((self._opened, self._served), return_when=FIRST_COMPLETED)
        if self._served.done():
            self._served.result()

    def start(self, ready: Ready) -> None:
        """Ask, in the loop's thread."""
        self._loop.call_soon_threadsafe(self._begin, ready)

    def _begin(self, ready: Ready) -> None:
        task = self._loop.create_task(self._ask(ready))
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Result]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: asyncio need not warn when the consumer has gone
        self._events.put(task)

    def close(self) -> None:
        """Cancel what is in flight, close the connection and end the thread."""
        wait((self._opened, self._served), return_when=FIRST_COMPLETED)
        if not self._served.done():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.shutdown(wait=True)
