"""Batches: everything once, similar lengths, one way of drawing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.engine import plan
from lalm_bench.types import Generation, Request

GENERATIONS = (Generation(), Generation(64), Generation(temperature=0.7, seed=1))
requests = st.lists(st.tuples(st.floats(0, 600), st.sampled_from(GENERATIONS)), max_size=40).map(
    lambda rows: [
        (Request(str(i), (), generation=g, key=str(i)), length)
        for i, (length, g) in enumerate(rows)
    ]
)


@given(requests, st.integers(1, 9))
def test_batches_are_a_partition_of_homogeneous_similar_items(rows, size):
    lengths = {r.key: length for r, length in rows}
    batches = plan.batches([r for r, _ in rows], size, lambda r: lengths[r.key])
    assert sorted(r.key for b in batches for r in b) == sorted(lengths)
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len({r.generation for r in batch}) == 1
        assert batch[0].generation.temperature == 0 or len(batch) == 1
    for generation in GENERATIONS:
        ordered = [lengths[r.key] for b in batches for r in b if r.generation == generation]
        assert ordered == sorted(ordered, reverse=True)


@given(requests, st.randoms())
def test_the_plan_does_not_depend_on_the_order(rows, random):
    lengths = {r.key: length for r, length in rows}
    mixed = [r for r, _ in rows]
    random.shuffle(mixed)

    def keys(items):
        return sorted(
            tuple(r.key for r in b) for b in plan.batches(items, 4, lambda r: lengths[r.key])
        )

    assert keys(mixed) == keys([r for r, _ in rows])


def test_alike_keeps_order_and_splits_by_shape():
    assert plan.alike([1, 2, 11, 3, 12], lambda i: i > 10) == [[1, 2, 3], [11, 12]]
