"""Settings of the next-event questions, and the account of what each filter dropped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lalm_bench.errors import ConfigError
from lalm_bench.tasks.order.timeline import Row
from lalm_bench.types import Json

# Setting -> (kind, least, greatest).
_RANGES: dict[str, tuple[type, float, float]] = {
    "min_duration": (float, 0, float("inf")),
    "min_events": (int, 2, float("inf")),
    "onset_epsilon": (float, 0, float("inf")),
    "none_share": (float, 0, 1),
    "near_duplicate_ratio": (float, 0, 1),
    "max_options": (int, 2, float("inf")),
}
# What makes the set another one than the published.
_MENDS = ("none_share", "near_duplicate_ratio", "max_options")


@dataclass(kw_only=True)
class NextEventRules:
    """How questions are built; the defaults are the published ones.

    Parameters
    ----------
    min_duration : float
        Seconds; shorter regions never become events.
    min_events : int
        Recordings with fewer events give no question.
    onset_epsilon : float
        Seconds; onsets at most this far apart count as simultaneous.
    seed : int
        Decides the order of options and whatever is sampled.
    compat : bool
        One generator shuffles the options of all items in turn, as in the published set.
    none_share : float, optional
        Upper bound on the share of items whose answer is none, kept for every number of options
        separately so that this number does not betray the answer; surplus items go by seeded hash.
    near_duplicate_ratio : float, optional
        Captions of one recording whose difflib ratio lies above it count as one event that occurs
        twice. Following what the rules do with repeated events, the item goes when its base or
        its answer is concerned; of two such distractors the later one goes.
    max_options : int, optional
        Larger items keep the answer, the none option and a seeded draw of distractors.

    Raises
    ------
    ConfigError
        A value lies outside its range, or `compat` meets a setting that changes the published set.
    """

    min_duration: float = 0.5
    min_events: int = 2
    onset_epsilon: float = 0.05
    seed: int = 7
    compat: bool = False
    none_share: float | None = None
    near_duplicate_ratio: float | None = None
    max_options: int | None = None

    def __post_init__(self) -> None:
        for name, (kind, low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in _MENDS:
                continue
            fits = isinstance(value, (int, kind)) and not isinstance(value, bool)
            if not fits or not low <= value <= high:
                number = "a whole number" if kind is int else "a number"
                raise ConfigError(f"{name} is {value!r} and must be {number} in [{low}, {high}]")
        changed = [name for name in _MENDS if getattr(self, name) is not None]
        if self.compat and changed:
            raise ConfigError(
                f"compat rebuilds the published set, which {', '.join(changed)} would change; "
                "drop one of the two"
            )

    def build(self, rows: Iterable[Row]) -> tuple[list[dict[str, Any]], dict[str, Json]]:
        """Questions from a strong-caption table, and what every filter dropped."""
        from lalm_bench.tasks.order.build import build

        records, report = build(rows, self)
        return records, asdict(report)


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What every filter dropped.

    `rows` = `empty` + `invalid_time` + `short` + the regions used. `files` and `few_events` count
    recordings. `events` = `questions` + the items dropped, one field a reason. `twin_options` and
    `capped_options` are distractors taken out before `none_share` was applied.
    """

    rows: int = 0
    empty: int = 0
    invalid_time: int = 0
    short: int = 0
    files: int = 0
    few_events: int = 0
    events: int = 0
    onset_tie_base: int = 0
    repeat: int = 0
    tiebreak_answer: int = 0
    overlap: int = 0
    near_duplicate: int = 0
    none_share: int = 0
    twin_options: int = 0
    capped_options: int = 0
    questions: int = 0
    none: int = 0

    def __str__(self) -> str:
        share = self.none / self.questions if self.questions else 0.0
        items = ("onset_tie_base", "repeat", "tiebreak_answer", "overlap", "near_duplicate")
        return (
            f"{self.questions} questions ({share:.1%} none) from {self.rows} rows: "
            f"{self.events} events in {self.files} recordings; "
            f"rows dropped: {self._listed(('empty', 'invalid_time', 'short'))}; "
            f"recordings dropped: {self._listed(('few_events',))}; "
            f"items dropped: {self._listed((*items, 'none_share'))}; "
            f"options dropped: {self._listed(('twin_options', 'capped_options'))}"
        )

    def _listed(self, names: Iterable[str]) -> str:
        return ", ".join([f"{name} {getattr(self, name)}" for name in names])
