"""What was really done to the clips of a request: from edits, through answers, into metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

# Means over the items that have them, in decisions and metrics.
MEANS = (
    *("snr_db", "clipped_share", "masked_share", "gain"),
    *("spoken_s", "inserted_s", "spoken_rms_db"),
)
# Flags (0 or 1) that are counted as `n_<name>`: the clip left an intervention as it came; the clip
# is silent, so that no noise has a ratio to it.
FLAGS = ("unchanged", "silent")
NAMES = (*MEANS, *FLAGS)


def note(facts: dict[str, float], found: Mapping[str, float]) -> None:
    """Add what one edit did; gains multiply, of anything else the last edit's word counts.

    What is no finite number is left out: files hold strict JSON.
    """
    for name, value in found.items():
        if not math.isfinite(value):
            continue
        facts[name] = float(value) * (facts.get(name, 1.0) if name == "gain" else 1.0)


def together(clips: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Facts of a request: the mean over those of its clips that have the fact.

    Examples
    --------
    >>> together([{"gain": 0.5, "unchanged": 0.0}, {"gain": 1.0}])
    {'gain': 0.75, 'unchanged': 0.0}
    """
    values: dict[str, list[float]] = {}
    for facts in clips:
        for name, value in facts.items():
            values.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}
