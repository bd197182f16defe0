"""Questions of the form "what comes immediately after this event?", built from timelines.

The filters, their order and the record fields are those of TACoBeLAL's MCQ-ORDER. Two things about
the published set are mended here. Its options were shuffled by one generator for the whole set, so
that a change in one recording re-orders the options of all later ones: `compat` brings that back,
otherwise each item has its own seed. And more than half of its answers are "none": `none_share`
bounds that.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from fractions import Fraction
from typing import Any

from lalm_bench import prompts
from lalm_bench.parsing.compat.tacobelal import normalise
from lalm_bench.randomness import derive
from lalm_bench.tasks.order.rules import BuildReport, NextEventRules
from lalm_bench.tasks.order.timeline import Event, Row, timelines

QUESTION = 'What happens immediately after this event first appears: "{event}"?'
NONE_TEXT = "This is the last event, no immediate event after."

Record = dict[str, Any]


def build(rows: Iterable[Row], rules: NextEventRules) -> tuple[list[Record], BuildReport]:
    """Questions in the published format, ordered by file name and event.

    Parameters
    ----------
    rows : iterable of (filename, text, onset, offset)
        Unparsed cells of a strong-caption table.
    rules : NextEventRules

    Returns
    -------
    list of dict
        JSON-able records.
    BuildReport
    """
    files, counts = timelines(rows, rules.min_duration, rules.min_events)
    shared = random.Random(rules.seed) if rules.compat else None  # noqa: S311
    records = []
    for name, events in files.items():
        bases = []
        for base in events:
            reason = skip_reason(events, base.index, rules.onset_epsilon)
            if reason is None:
                bases.append(base)
            else:
                counts[reason] += 1
        counts["events"] += len(events)
        twins = find_twins(events, rules.near_duplicate_ratio) if bases else {}
        for base in bases:
            record = _question(name, base, events, twins, rules, shared, counts)
            if record is not None:
                records.append(record)
    if rules.none_share is not None:
        kept = _bounded(records, rules.none_share, rules.seed)
        counts["none_share"] = len(records) - len(kept)
        records = kept
    counts["questions"] = len(records)
    counts["none"] = sum([r["answer_type"] == "none" for r in records])
    return records, BuildReport(**counts)


def skip_reason(events: Sequence[Event], index: int, epsilon: float) -> str | None:
    """Why the event at `index` gives no clear question, or None when it does.

    Events are sorted by onset, so only neighbours can tie. For the last event nothing follows and
    only the first two checks apply.
    """
    base = events[index]
    neighbours = (*events[max(index - 1, 0) : index], *events[index + 1 : index + 2])
    if any(abs(event.onset - base.onset) <= epsilon for event in neighbours):
        return "onset_tie_base"
    if base.occurrences > 1:
        return "repeat"
    if index + 1 == len(events):
        return None
    answer = events[index + 1]
    for third in events[index + 2 :]:
        if third.onset - answer.onset > epsilon:
            break
        if third.onset > base.onset + epsilon:
            return "tiebreak_answer"
    if answer.occurrences > 1:
        return "repeat"
    return "overlap" if answer.onset < base.offset + epsilon else None


def _question(
    name: str,
    base: Event,
    events: Sequence[Event],
    twins: dict[int, set[int]],
    rules: NextEventRules,
    shared: random.Random | None,
    counts: Counter[str],
) -> Record | None:
    """The item of one base event; None (and a count) when a twin makes it ambiguous."""
    item = f"{name}__{base.index}"
    answer = events[base.index + 1] if base.index + 1 < len(events) else None
    if twins.get(base.index) or (answer is not None and twins.get(answer.index)):
        counts["near_duplicate"] += 1
        return None
    offered = _without_twins([e for e in events if e is not base], twins)
    counts["twin_options"] += len(events) - 1 - len(offered)
    if rules.max_options is not None and len(offered) + 1 > rules.max_options:
        rng = random.Random(derive(rules.seed, item, "distractors"))  # noqa: S311
        room = rules.max_options - 1 - (answer is not None)
        drawn = {e.index for e in rng.sample([e for e in offered if e is not answer], room)}
        counts["capped_options"] += len(offered) + 1 - rules.max_options
        offered = [e for e in offered if e is answer or e.index in drawn]
    options: list[Record] = [{**event.as_record(), "type": "event"} for event in offered]
    options.append({"type": "none", "text": NONE_TEXT})
    own = random.Random(derive(rules.seed, item, "options"))  # noqa: S311
    (shared or own).shuffle(options)
    for position, option in enumerate(options):
        option["label"] = prompts.letter(position)
    right = None if answer is None else answer.index
    chosen = next(option for option in options if option.get("event_index") == right)
    return {
        "id": item,
        "task": "event_timeline_next",
        "audio_filename": name,
        "question": QUESTION.format(event=base.text),
        "base_event": base.as_record(),
        "options": options,
        "answer_label": chosen["label"],
        "answer_type": chosen["type"],
        "answer_text": chosen["text"],
        "answer_event_index": right,
    }


def find_twins(events: Sequence[Event], ratio: float | None) -> dict[int, set[int]]:
    """Event index -> the events of the recording whose captions read almost the same."""
    found: dict[int, set[int]] = defaultdict(set)
    if ratio is None:
        return found
    captions = [normalise(event.text) for event in events]
    matcher = SequenceMatcher(autojunk=False)
    for j, caption in enumerate(captions):
        matcher.set_seq2(caption)
        for i in range(j):
            matcher.set_seq1(captions[i])
            # The first two are cheap upper bounds of the third.
            if (
                matcher.real_quick_ratio() > ratio
                and matcher.quick_ratio() > ratio
                and matcher.ratio() > ratio
            ):
                found[i].add(j)
                found[j].add(i)
    return found


def _without_twins(events: list[Event], twins: dict[int, set[int]]) -> list[Event]:
    """Of events that read almost the same, only the earliest."""
    kept: list[Event] = []
    taken: set[int] = set()
    for event in events:
        if not taken & twins.get(event.index, set()):
            kept.append(event)
            taken.add(event.index)
    return kept


def _bounded(records: list[Record], share: float, seed: int) -> list[Record]:
    """Records of which, for every number of options, at most `share` have the answer none."""
    if share == 1:
        return records
    asked: Counter[int] = Counter()
    surplus: dict[int, list[str]] = defaultdict(list)
    for record in records:
        if record["answer_type"] == "none":
            surplus[len(record["options"])].append(record["id"])
        else:
            asked[len(record["options"])] += 1
    # Decimal as the user wrote it: binary rounding would cost an item at exact shares.
    exact = Fraction(str(share))
    dropped: set[str] = set()
    for size, ids in surplus.items():
        room = int(asked[size] * exact / (1 - exact))
        dropped.update(sorted(ids, key=lambda i: (derive(seed, i, "none_share"), i))[room:])
    return [record for record in records if record["id"] not in dropped]
