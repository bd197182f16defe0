"""What audio interventions share: add one lazy edit to every clip of a request, demand settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from lalm_bench.errors import ConfigError
from lalm_bench.randomness import derive
from lalm_bench.types import Audio, AudioEdit, AudioSource, Context, Request, Sample


def edit_clips(
    sample: Sample,
    request: Request,
    context: Context,
    purpose: str,
    make: Callable[[int], AudioEdit],
) -> Request:
    """Append `make(seed)` to the edits of every clip; the seed depends on run, item, purpose, clip.

    Parameters
    ----------
    sample : Sample
    request : Request
    context : Context
        Holds the run's seed.
    purpose : str
        Name of the intervention, so that two interventions on one clip draw independently.
    make : callable
        Takes a derived seed and returns the edit.
    """

    def edited(source: AudioSource, number: int) -> AudioSource:
        edit = make(derive(context.seed, sample.id, purpose, str(number)))
        return AudioSource(source.clip, (*source.edits, edit))

    return change_clips(request, edited)


def change_clips(request: Request, change: Callable[[AudioSource, int], AudioSource]) -> Request:
    """The request with `change(source, number)` in place of each clip; numbers count from 0."""
    messages = []
    number = 0
    for message in request.messages:
        parts = []
        for part in message.parts:
            if isinstance(part, Audio):
                part = Audio(change(part.source, number))
                number += 1
            parts.append(part)
        messages.append(replace(message, parts=tuple(parts)))
    return replace(request, messages=tuple(messages))


def demand_share(name: str, value: object) -> float:
    """The value as a float in [0, 1]; ConfigError otherwise."""
    return demand_number(name, value, 0, 1)


def demand_number(
    name: str, value: object, low: float, high: float = math.inf, unit: str = ""
) -> float:
    """The value as a float from `low` to `high`; ConfigError otherwise."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        span = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of {low:g} or more"
        raise ConfigError(f"{name}={value!r} must be a number{unit and f' of {unit}'} {span}")
    return float(value)


def demand_one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    """ConfigError when the value is none of those allowed."""
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} must be one of {', '.join(allowed)}")
