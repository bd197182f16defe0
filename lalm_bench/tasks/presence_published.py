"""MCQ-SAFETY as TACoBeLAL built it: one generator draws recordings, answers, events and options."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from lalm_bench import prompts
from lalm_bench.errors import DataError
from lalm_bench.tasks.presence import as_record

Entry = tuple[str, str, str]  # file name, normalised caption, caption


def published(captions: Mapping[str, Mapping[str, str]], n: int, seed: int) -> list[dict[str, Any]]:
    """One question for each of `n` recordings, half of them true, in the order drawn.

    Parameters
    ----------
    captions : mapping
        File name -> normalised caption -> its first spelling.

    Raises
    ------
    DataError
        Fewer than `n` recordings can be asked about.
    """
    rng = random.Random(seed)  # noqa: S311
    pool = sorted((f, key, text) for f, own in captions.items() for key, text in own.items())
    every = {key for _, key, _ in pool}
    eligible = sorted(name for name, own in captions.items() if own and own.keys() != every)
    if len(eligible) < n:
        raise DataError(
            f"{len(eligible)} recordings can be asked about, not {n}; lower task.recordings"
        )
    rng.shuffle(eligible)
    answers = [True] * (n // 2) + [False] * (n - n // 2)
    rng.shuffle(answers)
    records = []
    for name, present in zip(eligible[:n], answers, strict=True):
        own = captions[name]
        if present:
            key, text = rng.choice(sorted(own.items()))
            entry = (name, key, text)
        else:
            entry = _absent(pool, name, own, rng)
        order = [True, False]
        rng.shuffle(order)
        options = [
            {"type": str(value).lower(), "text": str(value), "label": prompts.letter(place)}
            for place, value in enumerate(order)
        ]
        records.append(as_record(name, entry[2], present, entry[0], options))
    return records


def _absent(pool: list[Entry], name: str, own: Mapping[str, str], rng: random.Random) -> Entry:
    """A caption of another recording that is not spelt like one of this recording."""
    for _ in range(min(512, max(32, len(pool)))):
        entry = rng.choice(pool)
        if entry[0] != name and entry[1] not in own:
            return entry
    start = rng.randrange(len(pool))
    around = pool[start:] + pool[:start]
    return next(entry for entry in around if entry[0] != name and entry[1] not in own)
