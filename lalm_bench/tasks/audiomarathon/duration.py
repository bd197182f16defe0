"""Durations and their buckets, to see whether a model fades as recordings grow."""

from __future__ import annotations

from bisect import bisect_right

from lalm_bench import audio
from lalm_bench.errors import AudioError
from lalm_bench.types import AudioSource, Clip

# The benchmark promises 90 to 300 s; what lies outside has a bucket of its own.
EDGES = (90.0, 120.0, 180.0, 300.0)
BUCKETS = ("000-090 s", "090-120 s", "120-180 s", "180-300 s", "300+ s")
UNKNOWN = "unknown"


def bucket(seconds: float | None) -> str:
    """Name of the bucket, sortable as text; exactly 300 s still belongs to `180-300 s`.

    Examples
    --------
    >>> [bucket(s) for s in (89.9, 90.0, 300.0, 300.1, None)]
    ['000-090 s', '090-120 s', '180-300 s', '300+ s', 'unknown']
    """
    if seconds is None:
        return UNKNOWN
    return BUCKETS[bisect_right(EDGES[:-1], seconds) + (seconds > EDGES[-1])]


def facts(clip: Clip) -> dict[str, float | str | None]:
    """`seconds` and `duration` (the bucket) of a clip, from its header.

    A recording that is absent or unreadable is `unknown` here: a reader does not need it, and for
    a listener the run itself refuses it by name.
    """
    try:
        seconds = audio.seconds(AudioSource(clip))
    except AudioError:
        return {"seconds": None, "duration": UNKNOWN}
    return {"seconds": round(seconds, 3), "duration": bucket(seconds)}
