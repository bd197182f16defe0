"""MCQ-RELATION: whether A comes before B, after it, during it, or starts together with it.

The construction of TACoBeLAL is in `relation_published` (`compat`). It is mended here:

* Its options are not exclusive ("A starts before B" also holds for most pairs that overlap). The
  default wording is.
* Overlaps and pauses of a few milliseconds decide answers, below what annotators can place. Here
  pairs with less than `min_margin` are left out.
* Four pairs a recording are kept by a score that squeezes out simultaneous starts. Here a recording
  gives the relation first that is rarest in the whole set, and no relation makes up more than
  `max_share` of the answers.
* Each pair is asked twice, as (A, B) and (B, A). Here it is asked once, the order drawn.
* Repeated sounds count as "cannot be determined", though all their occurrences may agree. Here
  only sounds that occur once, and captions without a near duplicate, are asked about.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from lalm_bench.randomness import derive
from lalm_bench.tasks.balance import label, most_each, ranked
from lalm_bench.tasks.checks import demand_numbers
from lalm_bench.tasks.order.build import find_twins
from lalm_bench.tasks.order.timeline import Event, Row, timelines
from lalm_bench.tasks.strong_captions import TimelineMCQ
from lalm_bench.types import Json

QUESTION = (
    "In this audio, what is the temporal relation between Event A and Event B?\n"
    'Event A: "{a}"\nEvent B: "{b}"'
)
TEXTS = {
    "a_starts_before_b": "A is over before B starts",
    "a_starts_after_b": "A starts after B is over",
    "a_overlaps_b": "A and B overlap, but one starts before the other",
    "a_b_start_same_time": "A and B start at the same time",
}


@dataclass(kw_only=True)
class RelationRules:
    """How questions are built.

    Parameters
    ----------
    min_duration : float
        Seconds; shorter regions never become events.
    min_events : int
        Recordings with fewer events give no question.
    same_start_eps : float
        Seconds; onsets at most this far apart are simultaneous.
    min_margin : float
        Seconds by which sounds overlap, are apart, or start apart; pairs below it are unclear.
    max_pairs_per_audio : int
    max_share : float
        Upper bound on any relation's share of the answers.
    near_duplicate_ratio : float, optional
        Captions with a greater difflib ratio in one recording are not asked about.
    seed : int
    compat : bool
        The published construction with its published values; of the settings above it takes
        min_duration, min_events, same_start_eps, max_pairs_per_audio and seed.
    """

    min_duration: float = 0.5
    min_events: int = 2
    same_start_eps: float = 0.05
    min_margin: float = 0.25
    max_pairs_per_audio: int = 4
    max_share: float = 0.4
    near_duplicate_ratio: float | None = 0.85
    seed: int = 7
    compat: bool = False

    def __post_init__(self) -> None:
        demand_numbers(
            self,
            min_duration=(float, 0, None),
            min_events=(int, 2, None),
            same_start_eps=(float, 0, None),
            min_margin=(float, 0, None),
            max_pairs_per_audio=(int, 1, None),
            max_share=(float, 0, 1),
            near_duplicate_ratio=(float, 0, 1),
            optional=("near_duplicate_ratio",),
        )

    def build(self, rows: Iterable[Row]) -> tuple[list[dict[str, Any]], dict[str, Json]]:
        """Questions ordered by id, and what every filter dropped."""
        files, counts = timelines(rows, self.min_duration, self.min_events)
        if self.compat:
            from lalm_bench.tasks.relation_published import published

            records = published(
                files, self.seed, self.same_start_eps, self.max_pairs_per_audio, counts
            )
        else:
            records = _mended(files, self, counts)
        counts["questions"] = len(records)
        counts.update(Counter(r["answer_relation"] for r in records))
        return records, dict(counts)


def relation(a: Event, b: Event, same_start_eps: float, margin: float) -> str | None:
    """Relation of two sounds that occur once; None where `margin` (s) leaves it unclear."""
    apart = abs(a.onset - b.onset)
    if apart <= same_start_eps:
        return "a_b_start_same_time"
    shared = min(a.offset, b.offset) - max(a.onset, b.onset)
    if apart < margin or abs(shared) < margin:
        return None
    if shared > 0:
        return "a_overlaps_b"
    return "a_starts_before_b" if a.onset < b.onset else "a_starts_after_b"


Pair = tuple[str, Event, Event, str]  # file name, A, B, relation


def _mended(
    files: dict[str, tuple[Event, ...]], rules: RelationRules, counts: Counter[str]
) -> list[dict[str, Any]]:
    found: dict[str, list[Pair]] = {}
    for name, events in files.items():
        twins = find_twins(events, rules.near_duplicate_ratio)
        clear = [e for e in events if e.occurrences == 1 and not twins.get(e.index)]
        counts["repeated_or_alike"] += len(events) - len(clear)
        found[name] = []
        for pair in combinations(clear, 2):
            key = f"{name}__{pair[0].index}__{pair[1].index}"
            a, b = pair if derive(rules.seed, key, "order") % 2 else pair[::-1]
            kind = relation(a, b, rules.same_start_eps, rules.min_margin)
            if kind is None:
                counts["unclear"] += 1
            else:
                found[name].append((name, a, b, kind))
    rarity = Counter(pair[3] for pairs in found.values() for pair in pairs)
    by_kind: dict[str, list[Pair]] = defaultdict(list)
    for pairs in found.values():
        kept = _varied(pairs, rarity, rules)
        counts["more_pairs"] += len(pairs) - len(kept)
        for entry in kept:
            by_kind[entry[3]].append(entry)
    bound = most_each([len(pairs) for pairs in by_kind.values()], rules.max_share)
    records = []
    for kind in sorted(by_kind):
        pairs = ranked(by_kind[kind], _id, rules.seed, "share")
        counts["max_share"] += len(pairs[bound:])
        records += [_record(pair, n % len(TEXTS)) for n, pair in enumerate(pairs[:bound])]
    return sorted(records, key=lambda record: str(record["id"]))


def _varied(pairs: list[Pair], rarity: Counter[str], rules: RelationRules) -> list[Pair]:
    """At most `max_pairs_per_audio` of one recording, in turn of each relation, rarest first."""
    turn: Counter[str] = Counter()
    order = []
    for pair in ranked(pairs, _id, rules.seed, "pairs"):
        order.append(((turn[pair[3]], rarity[pair[3]], pair[3]), pair))
        turn[pair[3]] += 1
    order.sort(key=lambda entry: entry[0])
    return [pair for _, pair in order[: rules.max_pairs_per_audio]]


def _id(pair: Pair) -> str:
    return f"{pair[0]}__{pair[1].index}__{pair[2].index}"


def _record(pair: Pair, place: int) -> dict[str, Any]:
    kinds = list(TEXTS)
    options = [{"type": "relation", "relation": kind, "text": TEXTS[kind]} for kind in kinds]
    return as_record(pair, label(options, kinds.index(pair[3]), place))


def as_record(pair: Pair, options: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The question under the published field names."""
    name, a, b, kind = pair
    answer = next(option for option in options if option["relation"] == kind)
    return {
        "id": _id(pair),
        "task": "event_timeline_relation",
        "task_id": "MCQ-RELATION",
        "audio_filename": name,
        "question": QUESTION.format(a=a.text, b=b.text),
        "event_a": a.as_record(),
        "event_b": b.as_record(),
        "options": list(options),
        "answer_label": answer["label"],
        "answer_type": "relation",
        "answer_relation": kind,
        "answer_text": answer["text"],
    }


@dataclass(kw_only=True)
class McqRelation(RelationRules, TimelineMCQ):
    """MCQ-RELATION over any source of strong captions."""

    def __post_init__(self) -> None:
        RelationRules.__post_init__(self)
        TimelineMCQ.__post_init__(self)
