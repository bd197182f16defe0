"""Which requests go through the model together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from lalm_bench.types import Request

Item = TypeVar("Item")


def batches(
    requests: Iterable[Request], size: int, length: Callable[[Request], float]
) -> list[list[Request]]:
    """Batches of similar length with one generation setting each, the longest first.

    Similar lengths waste little padding; the longest first, so that a batch that does not fit into
    memory shows in the first seconds and not after hours. A sampled request stays alone: its draws
    come from its own seed, and neighbours in a batch would share them.

    Parameters
    ----------
    requests : iterable of Request
    size : int
        Most requests in a batch.
    length : callable
        Request -> cost along the padded axis (seconds of audio, characters of text).
    """
    ordered = sorted(requests, key=lambda r: (-length(r), r.key, r.sample_id, r.variant))
    groups = _grouped(ordered, lambda r: r.generation)
    planned = []
    for group in groups:
        step = 1 if group[0].generation.temperature > 0 else max(size, 1)
        planned += [group[i : i + step] for i in range(0, len(group), step)]
    return planned


def alike(items: Sequence[Item], shape: Callable[[Item], Hashable]) -> list[list[Item]]:
    """`items` split by `shape`, order kept: for models that are wrong on padded audio."""
    return _grouped(items, shape)


def _grouped(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    groups: dict[Hashable, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
