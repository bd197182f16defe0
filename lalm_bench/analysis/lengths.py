"""How long the audio of each decision is, and what answering it took."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from lalm_bench import audio
from lalm_bench.compare.loaded import Table
from lalm_bench.errors import AudioError, ConfigError, DataError
from lalm_bench.report.rebuilt import Rebuilt
from lalm_bench.store import read_json

# AudioMarathon's buckets, and below them those of shorter benchmarks.
EDGES = (10.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0)
UNKNOWN = "unknown"
# Where a duration comes from, best first.
DECISION, RECORDING, ANSWER = "the task's own record", "the recording", "the answer's record"
# Seconds that other items' answers overlap: preparing runs in threads, ahead of the model.
_AHEAD = frozenset({"featurise_s", "prepare_s"})

Key = tuple[str, str]


@dataclass(frozen=True)
class Buckets:
    """Ranges of seconds; the last edge still belongs to the range below it, as 300 s does.

    Raises
    ------
    ConfigError
        The edges do not rise.
    """

    edges: tuple[float, ...] = EDGES

    def __post_init__(self) -> None:
        if any(b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)):
            shown = " ".join(f"{edge:g}" for edge in self.edges)
            raise ConfigError(f"--edges {shown}: each edge must be greater than the one before it")

    @property
    def names(self) -> list[str]:
        """Names, shortest first, and last what is not known."""
        starts = (0.0, *self.edges)
        ranges = [f"{a:g}-{b:g} s" for a, b in zip(starts, self.edges, strict=False)]
        return [*ranges, f"over {self.edges[-1]:g} s", UNKNOWN]

    def of(self, seconds: float | None) -> int:
        """Place in `names`.

        Examples
        --------
        >>> buckets = Buckets((10.0, 300.0))
        >>> [buckets.names[buckets.of(s)] for s in (9.9, 10.0, 300.0, 301.0, None)]
        ['0-10 s', '10-300 s', '10-300 s', 'over 300 s', 'unknown']
        """
        if seconds is None:
            return len(self.edges) + 1
        return bisect_right(self.edges[:-1], seconds) + (seconds > self.edges[-1])


@dataclass(frozen=True)
class Spent:
    """What one decision took.

    Parameters
    ----------
    timing : mapping
        Seconds by stage, summed over the steps that led to it; empty where nothing was noted.
    usage : mapping
        Sums of counts.
    """

    timing: Mapping[str, float] = field(default_factory=dict)
    usage: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float | None:
        """Seconds of the model's time, its preparation aside; None where nothing was noted."""
        known = [seconds for name, seconds in self.timing.items() if name not in _AHEAD]
        return sum(known) if known else None

    @property
    def heard(self) -> float | None:
        """Seconds of audio that the model got; None where nothing was noted."""
        return self.usage.get("audio_s")


def spent(table: Table) -> list[Spent]:
    """What each decision of a run took; the columns must hold `steps`.

    Equal requests share one answer, which is noted under the first of them: the others took
    nothing, and are `Spent()`.

    Raises
    ------
    DataError
        The log of answers is damaged.
    """
    answers: defaultdict[Key, dict[str, dict[str, Any]]] = defaultdict(dict)
    path = table.run.folder / "responses.jsonl"
    if path.is_file():
        with open(path, "rb") as file:
            for line in file:
                try:
                    row = orjson.loads(line)
                    key = (str(row["sample_id"]), str(row.get("variant") or ""))
                    if row["finish"] != "error":
                        answers[key].pop(row["key"], None)
                        answers[key][row["key"]] = row
                except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                    if not line.endswith(b"\n"):  # a kill in the middle of a write
                        break
                    raise DataError(
                        f"{path}: no answer ({error}); run its command again"
                    ) from error
    found = []
    for key, steps in zip(table.keys, table.columns["steps"], strict=True):
        # Answers to requests of an earlier form of the item stay in the log: the last ones count.
        rows = [*answers.get(key, {}).values()][-1 - len(steps or ()) :]
        sums: dict[str, Counter[str]] = {"timing": Counter(), "usage": Counter()}
        for row in rows:
            for name, total in sums.items():
                total.update(row.get(name) or {})
        found.append(Spent(dict(sums["timing"]), dict(sums["usage"])))
    return found


def seconds(
    table: Table, made: Rebuilt, took: Sequence[Spent]
) -> tuple[list[float | None], dict[str, int]]:
    """Duration of each decision's own recording, before any intervention.

    Parameters
    ----------
    table : Table
        With the columns `seconds` and `question`.
    made : Rebuilt
        The run's items, which know their recordings.
    took : sequence of Spent

    Returns
    -------
    durations : list of float or None
        Seconds, all clips of an item together.
    counts : dict
        How many came from where.
    """
    found: list[float | None] = []
    counts: Counter[str] = Counter()
    columns = zip(
        table.keys, table.columns["seconds"], table.columns["question"], took, strict=True
    )
    known: tuple[str, dict[str, float]] = ("", {})
    for (name, variant), noted, question, cost in columns:
        value, source = noted if isinstance(noted, int | float) else None, DECISION
        if value is None:
            if known[0] != name:  # the variants of an item follow each other
                known = (name, _recordings(made, name, question))
            value, source = known[1].get(variant), RECORDING
        if value is None and cost.heard:
            value, source = cost.heard + cost.usage.get("truncated_s", 0.0), ANSWER
        found.append(value)
        counts[UNKNOWN if value is None else source] += 1
    return found, dict(counts)


def _recordings(made: Rebuilt, name: str, question: object) -> dict[str, float]:
    """Variant -> seconds."""
    found = {}
    for variant, asked in made.asked(name, question).items():
        try:
            clips = [asked.original(number) for number in range(len(asked.sources))]
            if clips:
                found[variant] = sum(audio.seconds(clip) for clip in clips)
        except AudioError:
            continue
    return found


def peaks(studies: Sequence[Path], fingerprint: str) -> dict[Key, int]:
    """Most bytes on the GPU while an item was asked alone, from a study's timings of a run."""
    found: dict[Key, int] = {}
    for folder in studies:
        for path in sorted((folder / "timing").glob("*.json")):
            stored = read_json(path)
            rows = stored.get("times", ()) if isinstance(stored, dict) else ()
            for row in rows:
                if row.get("cell") == fingerprint and row.get("peak_bytes") is not None:
                    item, _, variant = str(row["item"]).rpartition("/")
                    key = (item, variant)
                    found[key] = max(found.get(key, 0), int(row["peak_bytes"]))
    return found
