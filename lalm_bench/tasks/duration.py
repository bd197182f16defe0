"""MCQ-DURATION: naming the longer of two sounds of a recording.

One sound must last `min_ratio` times as long as the other, and `min_difference` seconds longer.
Only sounds that occur once, with no near duplicate among the captions, are asked about.

Nothing but the lengths may tell the answer. Whether the longer sound starts first, and whether its
caption is the longer text, are properties of the data that cannot be drawn. So each question is
matched with one of the opposite kind (starts second, shorter text), and what finds no match is
left out: any rule on order in time and length of text, alone or together, is right half the time.
The place of the answer among the options alternates within each kind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from lalm_bench.randomness import derive
from lalm_bench.tasks.balance import label, ranked
from lalm_bench.tasks.checks import demand_numbers
from lalm_bench.tasks.order.build import find_twins
from lalm_bench.tasks.order.timeline import Event, Row, timelines
from lalm_bench.tasks.strong_captions import TimelineMCQ
from lalm_bench.types import Json

QUESTION = "Which of these two sounds lasts longer in this audio?"

Pair = tuple[str, Event, Event]  # file name, the longer sound, the shorter one
Kind = tuple[int, int]  # does the longer one start first, has it the longer text: -1, 0 or 1


@dataclass(kw_only=True)
class DurationRules:
    """How questions are built.

    Parameters
    ----------
    min_duration : float
        Seconds; shorter regions never become events.
    min_events : int
        Recordings with fewer events give no question.
    min_ratio : float
        Least ratio of the two lengths.
    min_difference : float
        Least difference of the two lengths, seconds.
    max_pairs_per_audio : int
    near_duplicate_ratio : float, optional
        Captions with a greater difflib ratio in one recording are not asked about.
    seed : int
    """

    min_duration: float = 0.5
    min_events: int = 2
    min_ratio: float = 2.0
    min_difference: float = 1.0
    max_pairs_per_audio: int = 2
    near_duplicate_ratio: float | None = 0.85
    seed: int = 7

    def __post_init__(self) -> None:
        demand_numbers(
            self,
            min_duration=(float, 0, None),
            min_events=(int, 2, None),
            min_ratio=(float, 1.2, None),
            min_difference=(float, 0, None),
            max_pairs_per_audio=(int, 1, None),
            near_duplicate_ratio=(float, 0, 1),
            optional=("near_duplicate_ratio",),
        )

    def build(self, rows: Iterable[Row]) -> tuple[list[dict[str, Any]], dict[str, Json]]:
        """Questions ordered by id, and what every filter dropped."""
        files, counts = timelines(rows, self.min_duration, self.min_events)
        by_kind: dict[Kind, list[Pair]] = defaultdict(list)
        for name, events in files.items():
            pairs = list(self._clear(name, events, counts))
            kept = ranked(pairs, _id, self.seed, "pairs")[: self.max_pairs_per_audio]
            counts["more_pairs"] += len(pairs) - len(kept)
            for pair in kept:
                by_kind[_kind(pair)].append(pair)
        records = [
            _record(pair, place)
            for kind in sorted(by_kind)
            for pair, place in self._matched(kind, by_kind, counts)
        ]
        counts["questions"] = len(records)
        return sorted(records, key=lambda record: str(record["id"])), dict(counts)

    def _clear(self, name: str, events: tuple[Event, ...], counts: Counter[str]) -> Iterable[Pair]:
        twins = find_twins(events, self.near_duplicate_ratio)
        clear = [e for e in events if e.occurrences == 1 and not twins.get(e.index)]
        counts["repeated_or_alike"] += len(events) - len(clear)
        for pair in combinations(clear, 2):
            longer, shorter = sorted(pair, key=_length, reverse=True)
            if (
                _length(longer) >= self.min_ratio * _length(shorter)
                and _length(longer) - _length(shorter) >= self.min_difference
            ):
                yield name, longer, shorter
            else:
                counts["similar"] += 1

    def _matched(
        self, kind: Kind, by_kind: dict[Kind, list[Pair]], counts: Counter[str]
    ) -> Iterable[tuple[Pair, int]]:
        """As many pairs as the opposite kind has too, with the answer's place among the options."""
        pairs = ranked(by_kind[kind], _id, self.seed, "balance")
        opposite = (-kind[0], -kind[1])
        bound = min(len(pairs), len(by_kind.get(opposite, ())))
        counts["unmatched"] += len(pairs) - bound
        # A kind and its opposite begin at different places, so that an odd bound evens out.
        ahead = derive(self.seed, str(max(kind, opposite)), "place") + (kind > opposite)
        return [(pair, (n + ahead) % 2) for n, pair in enumerate(pairs[:bound])]


def _length(event: Event) -> float:
    return event.offset - event.onset


def _kind(pair: Pair) -> Kind:
    _, longer, shorter = pair
    return _sign(shorter.onset - longer.onset), _sign(len(longer.text) - len(shorter.text))


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _id(pair: Pair) -> str:
    first, second = sorted((pair[1].index, pair[2].index))
    return f"{pair[0]}__{first}__{second}__duration"


def _record(pair: Pair, place: int) -> dict[str, Any]:
    name, longer, shorter = pair
    options = label([{**e.as_record(), "type": "event"} for e in (longer, shorter)], 0, place)
    starts, text = _kind(pair)
    return {
        "id": _id(pair),
        "task": "event_duration_longer",
        "task_id": "MCQ-DURATION",
        "audio_filename": name,
        "question": QUESTION,
        "options": options,
        "answer_label": options[place]["label"],
        "answer_type": "event",
        "answer_text": longer.text,
        "duration_ratio": round(_length(longer) / _length(shorter), 3),
        "longer_starts": ("second", "together", "first")[starts + 1],
        "longer_text": ("shorter", "equal", "longer")[text + 1],
    }


@dataclass(kw_only=True)
class McqDuration(DurationRules, TimelineMCQ):
    """MCQ-DURATION over any source of strong captions."""

    def __post_init__(self) -> None:
        DurationRules.__post_init__(self)
        TimelineMCQ.__post_init__(self)
