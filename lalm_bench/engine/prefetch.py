"""Run a function in worker threads a bounded way ahead of whoever consumes its results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    fn: Callable[[Item], Result], items: Iterable[Item], workers: int, depth: int
) -> Generator[Result]:
    """Results of `fn` in the order of `items`, computed up to `depth` items ahead.

    Parameters
    ----------
    fn : callable
        Must be safe to call from several threads.
    items : iterable
        Read lazily, from the consumer's thread.
    workers : int
        Threads; 0 calls `fn` in the consumer's own thread, when a result is asked for.
    depth : int
        Most results that exist or are being computed without having been consumed; this bounds the
        memory of the look-ahead.

    Raises
    ------
    Exception
        Whatever `fn` raises, at the place of the item that raised it.
    """
    if workers <= 0:
        yield from map(fn, items)
        return
    source = iter(items)
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    try:
        for item in source:
            pending.append(pool.submit(fn, item))
            if len(pending) >= max(depth, 1):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # A consumer that stops early (an error, a closed generator) must not wait for work that
        # nobody will read.
        pool.shutdown(wait=True, cancel_futures=True)
