"""Look-ahead: order, bounds, errors, early end."""

from __future__ import annotations

import threading
import time

import pytest

from lalm_bench.engine.prefetch import ahead


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_results_come_in_the_order_of_the_items(workers):
    def slow_first(i):
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    assert list(ahead(slow_first, range(20), workers, 6)) == [i * i for i in range(20)]


def test_work_runs_beside_the_consumer_but_no_further_than_the_depth():
    done = []
    results = ahead(lambda i: done.append(i) or i, iter(range(100)), 4, depth=5)
    assert next(results) == 0
    time.sleep(0.1)
    assert 1 < len(done) <= 5
    assert next(results) == 1
    time.sleep(0.1)
    assert len(done) <= 6
    results.close()


def test_workers_share_the_items():
    meet = threading.Barrier(3, timeout=5)
    assert list(ahead(lambda i: meet.wait() >= 0, range(3), 3, 3)) == [True] * 3


def test_an_error_surfaces_at_its_item():
    results = ahead(lambda i: 1 // (2 - i), range(5), 2, 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_closing_cancels_what_has_not_begun():
    begun = []

    def slow(i):
        begun.append(i)
        time.sleep(0.05)

    results = ahead(slow, range(50), 1, 40)
    next(results)
    results.close()
    assert len(begun) < 5
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]
