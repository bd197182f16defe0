"""Presence of a sound (TACoBeLAL's MCQ-SAFETY): true or false.

The construction of TACoBeLAL is in `presence_published` (`compat`). It is mended here:

* A false event is only known to differ in spelling from what is there, so that a paraphrase of a
  present sound is "false". Here it shares no content word with any caption of the recording.
* True and false events are drawn apart, so that words and recordings may tell the answer. Here two
  recordings are crossed: each is asked about its own caption and about the other's. Every caption
  and every recording is right exactly as often as it is wrong, and so is every option order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from lalm_bench.errors import ConfigError
from lalm_bench.parsing.compat.tacobelal import normalise
from lalm_bench.randomness import derive
from lalm_bench.tasks.balance import label, ranked
from lalm_bench.tasks.checks import demand_numbers
from lalm_bench.tasks.order.timeline import Row
from lalm_bench.tasks.strong_captions import TimelineMCQ
from lalm_bench.types import Json

QUESTION = 'Is this event in the audio: "{event}"?'
# Words that say nothing about what sounds.
_EMPTY = frozenset(
    """a about after again all along also an and another are around as at audio away background be
    before being briefly by can clip continues continuously different distance during each few
    followed for foreground from getting has have heard hear in into is it its itself made makes
    making multiple near nearby noise of off on once one or other out over person play produce
    recording repeatedly same several she he single small some someone something sound start stop
    that the their them then there they this through times to together two up various very was
    were what when where which while with""".split()  # noqa: SIM905 - a list of words reads best
)
_WORD = re.compile(r"[^\W_]+")
_MOST_WAITING = 512


@dataclass(kw_only=True)
class PresenceRules:
    """How questions are built.

    Parameters
    ----------
    recordings : int, optional
        Even number of recordings; None takes all that find a partner.
    seed : int
    compat : bool
        The published construction: one question a recording.
    """

    recordings: int | None = 100
    seed: int = 7
    compat: bool = False

    def __post_init__(self) -> None:
        demand_numbers(self, recordings=(int, 2, None), optional=("recordings",))
        if self.recordings is not None and self.recordings % 2:
            raise ConfigError(f"task.recordings={self.recordings} must be even; add one")
        if self.compat and self.recordings is None:
            raise ConfigError("task.recordings must be a number with compat; published: 100")

    def build(self, rows: Iterable[Row]) -> tuple[list[dict[str, Any]], dict[str, Json]]:
        """Questions, and what was left out."""
        captions: dict[str, dict[str, str]] = {}
        counts: Counter[str] = Counter()
        for name, text, _, _ in rows:
            counts["rows"] += 1
            if name.strip() and normalise(text):
                captions.setdefault(name.strip(), {}).setdefault(normalise(text), text.strip())
            else:
                counts["empty"] += 1
        counts["files"] = len(captions)
        if self.compat and self.recordings is not None:
            from lalm_bench.tasks.presence_published import published

            return published(captions, self.recordings, self.seed), dict(counts)
        records = _crossed(captions, self, counts)
        counts["questions"] = len(records)
        return records, dict(counts)


def content_words(caption: str) -> frozenset[str]:
    """Stems of the words that name sounds; two captions without a common one differ in kind.

    Examples
    --------
    >>> sorted(content_words("A dog barks at the running dogs."))
    ['bark', 'dog', 'run']
    """
    words = [_stem(word) for word in _WORD.findall(caption.lower()) if word not in _EMPTY]
    return frozenset(word for word in words if word not in _EMPTY)


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


@dataclass(frozen=True)
class _Recording:
    name: str
    captions: Sequence[tuple[str, frozenset[str]]]  # in seeded order, with their content words
    words: frozenset[str]


def _crossed(
    captions: dict[str, dict[str, str]], rules: PresenceRules, counts: Counter[str]
) -> list[dict[str, Any]]:
    waiting: list[_Recording] = []
    records: list[dict[str, Any]] = []
    for name in ranked(captions, str, rules.seed, "recordings"):
        if rules.recordings is not None and len(records) >= 2 * rules.recordings:
            break
        texts = ranked(captions[name].values(), str, derive(rules.seed, name), "caption")
        own = [(text, content_words(text)) for text in texts]
        mine = _Recording(name, own, frozenset().union(*[words for _, words in own]))
        for other in waiting:
            if (asked := _apart(other, mine)) is not None:
                waiting.remove(other)
                records += _four(other.name, mine.name, asked, rules.seed)
                break
        else:
            waiting = [*waiting, mine][-_MOST_WAITING:]
            counts["without_partner"] += 1
            continue
        counts["without_partner"] -= 1
    return sorted(records, key=lambda record: str(record["id"]))


def _apart(a: _Recording, b: _Recording) -> tuple[str, str] | None:
    """A caption of each that shares no content word with any caption of the other."""
    for (first, words), (second, others) in product(a.captions, b.captions):
        if words and others and not words & b.words and not others & a.words:
            return first, second
    return None


def _four(a: str, b: str, asked: tuple[str, str], seed: int) -> list[dict[str, Any]]:
    """Each of two recordings with each of two captions; both option orders for both answers."""
    flip = derive(seed, a, b, "options") % 2
    cells = [(a, 0, flip), (b, 1, 1 - flip), (a, 1, flip), (b, 0, 1 - flip)]
    return [_record(name, (a, b), asked, which, place) for name, which, place in cells]


def _record(
    name: str, pair: tuple[str, str], asked: tuple[str, str], which: int, place: int
) -> dict[str, Any]:
    present = pair[which] == name
    options = label(
        [{"type": "true", "text": "True"}, {"type": "false", "text": "False"}], 0, place
    )
    return as_record(name, asked[which], present, pair[which], options) | {
        "id": f"{name}__presence_{'own' if present else 'other'}",
        "cluster": "|".join(pair),
    }


def as_record(
    name: str, event: str, present: bool, origin: str, options: list[dict[str, Any]]
) -> dict[str, Any]:
    """The question under the published field names; `origin` is where the caption comes from."""
    kind = "true" if present else "false"
    answer = next(option for option in options if option["type"] == kind)
    return {
        "id": f"{name}__safety_presence",
        "task": "event_presence_binary",
        "task_id": "MCQ-SAFETY",
        "audio_filename": name,
        "question": QUESTION.format(event=event),
        "query_event": event,
        "query_event_normalized": normalise(event),
        "query_source": "positive" if present else "negative",
        "query_source_audio": origin,
        "options": options,
        "answer_label": answer["label"],
        "answer_type": kind,
        "answer_text": answer["text"],
    }


@dataclass(kw_only=True)
class McqPresence(PresenceRules, TimelineMCQ):
    """MCQ-SAFETY over any source of strong captions; the two recordings of a pair are a cluster."""

    def __post_init__(self) -> None:
        PresenceRules.__post_init__(self)
        TimelineMCQ.__post_init__(self)
