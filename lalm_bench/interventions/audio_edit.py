"""What audio interventions share: add one lazy edit to every clip of a request."""

from __future__ import annotations

from collections.abc import Callable
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
    messages = []
    number = 0
    for message in request.messages:
        parts = []
        for part in message.parts:
            if isinstance(part, Audio):
                edit = make(derive(context.seed, sample.id, purpose, str(number)))
                number += 1
                source = part.source
                part = Audio(AudioSource(source.clip, (*source.edits, edit)))
            parts.append(part)
        messages.append(replace(message, parts=tuple(parts)))
    return replace(request, messages=tuple(messages))


def demand_share(name: str, value: object) -> float:
    """The value as a float in [0, 1]; ConfigError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{name}={value!r} must be a number from 0 to 1")
    return float(value)
