"""Which cells share a job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.sweep.packing import packs
from lalm_bench.sweep.record import Part


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    st.one_of(st.none(), st.integers(1, 50)),
)
def test_every_part_is_in_one_pack_and_no_more_jobs_than_asked_for(models, jobs):
    parts = [Part(i) for i in range(len(models))]
    found = packs(parts, dict(enumerate(models)), "by_model", jobs)
    assert sorted(part for pack in found for part in pack) == parts
    assert all(found)
    kinds = len(set(models))
    assert len(found) == (kinds if jobs is None else min(jobs, len(parts)))
    if jobs is None or jobs >= kinds:
        assert all(len({models[part.cell] for part in pack}) == 1 for pack in found)


def test_the_larger_model_gets_more_jobs_and_neighbours_stay_together():
    models = dict(enumerate("aaaaaaaabb"))
    found = packs([Part(i) for i in range(10)], models, "by_model", 5)
    assert [[part.cell for part in pack] for pack in found] == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
        [8, 9],
    ]


def test_shards_run_side_by_side():
    parts = [Part(0, 0), Part(0, 1), Part(1, 0), Part(1, 1)]
    found = packs(parts, {0: "a", 1: "a"}, "by_model", None)
    assert found == [(Part(0, 0), Part(1, 0)), (Part(0, 1), Part(1, 1))]


@pytest.mark.parametrize("n", [1, 7])
def test_none_is_one_job_a_part(n):
    parts = [Part(i) for i in range(n)]
    assert packs(parts, dict.fromkeys(range(n), "a"), "none", None) == [(part,) for part in parts]
