"""MCQ-RELATION as TACoBeLAL built it: wording, pairs, quality score and option order."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

from lalm_bench import prompts
from lalm_bench.tasks.order.timeline import Event
from lalm_bench.tasks.relation import Pair, as_record

TEXTS = {
    "a_starts_before_b": "A starts before B",
    "a_starts_after_b": "A starts after B",
    "a_overlaps_b": "A overlaps B",
    "a_b_start_same_time": "A and B start at the same time",
    "cannot_be_determined": "cannot be determined",
}
MAX_QUESTIONS = 12_000


def published(
    files: Mapping[str, Sequence[Event]],
    seed: int,
    same_start_eps: float,
    per_file: int,
    counts: Counter[str],
    most: int = MAX_QUESTIONS,
) -> list[dict[str, Any]]:
    """Questions ordered by id; ties of the score go to the smaller id.

    Parameters
    ----------
    files : mapping
        File name -> events.
    seed : int
        Enters the hash that orders the options.
    same_start_eps : float
        Seconds.
    per_file, most : int
        Bounds on pairs of one recording and on all questions.
    counts : Counter
        Gets what the bounds dropped.
    """
    scored: list[tuple[float, str, Pair]] = []
    for name, events in files.items():
        own = []
        for a, b in permutations(events, 2):
            kind, score = _judged(a, b, same_start_eps)
            own.append((-score, f"{name}__{a.index}__{b.index}", (name, a, b, kind)))
        own.sort(key=lambda entry: entry[:2])
        counts["more_pairs"] += len(own[per_file:])
        scored += own[:per_file]
    scored.sort(key=lambda entry: entry[:2])
    if len(scored) > most:
        counts["more_questions"] = len(scored) - most
        scored = _bounded(scored, most)
    scored.sort(key=lambda entry: entry[1])
    return [as_record(pair, _options(item, seed)) for _, item, pair in scored]


def _judged(a: Event, b: Event, eps: float) -> tuple[str, float]:
    """Relation and quality score; the first rule that holds decides."""
    if a.occurrences > 1 or b.occurrences > 1:
        return "cannot_be_determined", 0.0
    gap = abs(a.onset - b.onset)
    if gap <= eps:
        return "a_b_start_same_time", max(0.0, eps - gap)
    shared = min(a.offset, b.offset) - max(a.onset, b.onset)
    if shared > 0:
        return "a_overlaps_b", shared
    before = a.onset < b.onset
    return "a_starts_before_b" if before else "a_starts_after_b", gap + max(0.0, -shared)


def _bounded(scored: list[tuple[float, str, Pair]], most: int) -> list[tuple[float, str, Pair]]:
    """An equal number of each relation, the best first; what stays free goes by score."""
    by_kind: dict[str, list[tuple[float, str, Pair]]] = defaultdict(list)
    for entry in scored:
        by_kind[entry[2][3]].append(entry)
    each = most // len(TEXTS)
    kept = [entry for entries in by_kind.values() for entry in entries[:each]]
    taken = {entry[1] for entry in kept}
    return kept + [entry for entry in scored if entry[1] not in taken][: most - len(kept)]


def _options(item: str, seed: int) -> list[dict[str, Any]]:
    def rank(entry: tuple[int, str]) -> str:
        index, kind = entry
        return hashlib.sha256(f"{seed}:{item}:{index}:{kind}".encode()).hexdigest()

    return [
        {"type": "relation", "relation": kind, "text": TEXTS[kind], "label": prompts.letter(n)}
        for n, (_, kind) in enumerate(sorted(enumerate(TEXTS), key=rank))
    ]
