"""Regions of a clip: where there is speech, as the item says, and where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lalm_bench.errors import ConfigError
from lalm_bench.types import Context, Request, Sample, Skip

REGIONS = ("all", "speech", "background")


def inside(
    region: str, speech: Sequence[tuple[float, float]], samples: int, rate: int
) -> np.ndarray | None:
    """Which samples belong to the region: bool, shape (samples,); None for all of them.

    Parameters
    ----------
    region : str
        One of `REGIONS`.
    speech : sequence of (float, float)
        Start and end, seconds; cut at the end of the clip.
    """
    if region == "all":
        return None
    chosen = np.full(samples, region == "background")
    for start, end in speech:
        chosen[round(start * rate) : round(end * rate)] = region == "speech"
    return chosen


def known_speech(
    sample: Sample, request: Request, context: Context, region: str
) -> tuple[tuple[float, float], ...] | Skip:
    """Where the item has speech, seconds; or why it cannot be told.

    Raises
    ------
    ConfigError
        No item of the run says so, or earlier edits may have moved it.
    """
    clips = request.clips()
    if any(source.edits for source in clips):
        raise ConfigError(
            f"intervention.region={region}: speech is located in the clip as it was recorded; make "
            "this mask the first step of the chain"
        )
    spans: Sequence[Sequence[float]] | None = sample.meta.get("speech")
    if spans is not None and len(clips) <= 1:
        return tuple((float(start), float(end)) for start, end in spans)
    if not any("speech" in other.meta for other in (sample, *context.samples)):
        raise ConfigError(
            f"intervention.region={region}: no item says where its speech is; task=jasco does, "
            "with task.segments=FILE.csv"
        )
    return Skip("it is not known where its speech is")
