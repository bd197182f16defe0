"""Which cells share a job: loading a network may take longer than asking a cell's questions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TypeVar

from lalm_bench.sweep.record import Part
from lalm_bench.sweep.settings import NONE

Item = TypeVar("Item")


def packs(
    parts: Sequence[Part], models: Mapping[int, str], pack: str, jobs: int | None
) -> list[tuple[Part, ...]]:
    """Parts in the order in which each job works on them.

    Parameters
    ----------
    parts : sequence of Part
    models : mapping
        Cell number -> name of the model it needs.
    pack : str
        `none`: one part a job. `by_model`: parts of one model share a job.
    jobs : int or None
        Most jobs; None with `by_model`: one a model (and shard).

    Notes
    -----
    With fewer jobs than models, a job loads several, one after another. With more, the model with
    the most parts a job is split further until all jobs are given out. Neighbours stay together:
    they mostly hear the same clips.
    """
    if pack == NONE:
        return [(part,) for part in parts]
    groups: dict[tuple[str, int | None], list[Part]] = {}
    for part in parts:
        # Shards exist to run side by side.
        groups.setdefault((models[part.cell], part.shard), []).append(part)
    members = list(groups.values())
    if jobs is None or jobs == len(members):
        return [tuple(group) for group in members]
    if jobs < len(members):
        return [tuple(itertools.chain(*several)) for several in _split(members, jobs)]
    counts = [1] * len(members)
    for _ in range(min(jobs, len(parts)) - len(members)):
        fullest = max(range(len(members)), key=lambda i: len(members[i]) / counts[i])
        counts[fullest] += 1
    return [
        tuple(piece) for group, n in zip(members, counts, strict=True) for piece in _split(group, n)
    ]


def _split(items: Sequence[Item], n: int) -> list[Sequence[Item]]:
    """`n` pieces of neighbours, equal in length to within one."""
    edges = [len(items) * i // n for i in range(n + 1)]
    return [items[a:b] for a, b in itertools.pairwise(edges)]
