"""MCQ-ORDER: each filter on a table small enough to check by hand, then invariants at large."""

import random
from collections import Counter

import pytest

from lalm_bench.errors import ConfigError
from lalm_bench.tasks.order.build import NONE_TEXT, build
from lalm_bench.tasks.order.rules import NextEventRules
from lalm_bench.tasks.order.timeline import timelines

NONE = NONE_TEXT


def table(*events, name="a.mp3"):
    return [(name, text, str(on), str(off)) for text, on, off in events]


def asked(rows, **rules):
    """Base caption -> caption of the answer, and what was dropped."""
    records, report = build(rows, NextEventRules(**rules))
    return {r["base_event"]["text"]: r["answer_text"] for r in records}, report


def dropped(report, *names):
    """Counts of the reasons named; every other reason must be nil."""
    reasons = ("onset_tie_base", "repeat", "tiebreak_answer", "overlap", "near_duplicate")
    assert all(getattr(report, r) == 0 for r in reasons if r not in names)
    return [getattr(report, name) for name in names]


# --------------------------------------------------------------------------- one filter at a time


def test_three_clear_events():
    answers, report = asked(table(("Bell.", 0, 1), ("Dog.", 2, 3), ("Rain.", 4, 6)))
    assert answers == {"Bell.": "Dog.", "Dog.": "Rain.", "Rain.": NONE}
    assert dropped(report) == []
    assert (report.rows, report.files, report.events) == (3, 1, 3)
    assert (report.questions, report.none) == (3, 1)


def test_rows_without_text_or_usable_times_are_dropped():
    rows = [
        *table(("Bell", 0, 1), ("Dog", 2, 3)),
        ("", "Rain", "4", "5"),
        ("a.mp3", "  ", "4", "5"),
        ("a.mp3", "Rain", "four", "5"),
        ("a.mp3", "Rain", "", "5"),
        ("a.mp3", "Rain", "nan", "5"),
        ("a.mp3", "Rain", "4", "inf"),
        ("a.mp3", "Rain", "5", "5"),
        ("a.mp3", "Rain", "6", "5"),
    ]
    answers, report = asked(rows)
    assert answers == {"Bell": "Dog", "Dog": NONE}
    assert (report.rows, report.empty, report.invalid_time, report.short) == (10, 2, 6, 0)


def test_half_a_second_is_long_enough_and_less_is_not():
    answers, report = asked(table(("Bell", 0, 0.5), ("Click", 1, 1.49), ("Dog", 2, 3)))
    assert answers == {"Bell": "Dog", "Dog": NONE}
    assert (report.short, report.events) == (1, 2)


def test_recordings_with_one_event_give_no_question():
    rows = [
        *table(("Bell", 0, 1), ("BELL.", 3, 4), name="b.mp3"),
        *table(("Dog", 0, 1), ("x", 2, 3)),
    ]
    answers, report = asked(rows)
    assert answers == {"Dog": "x", "x": NONE}
    assert (report.files, report.few_events) == (1, 1)
    _, report = asked(rows, min_events=3)
    assert (report.files, report.few_events, report.questions) == (0, 2, 0)


def test_an_onset_beside_the_base_makes_both_unclear():
    # 0 and 0.05 tie exactly at the bound, which counts; Rain stays, as the last event.
    answers, report = asked(table(("Bell", 0, 1), ("Dog", 0.05, 1), ("Rain", 4, 6)))
    assert answers == {"Rain": NONE}
    assert dropped(report, "onset_tie_base") == [2]
    answers, _ = asked(table(("Bell", 0, 1), ("Dog", 0.06, 1), ("Rain", 4, 6)))
    assert answers == {"Dog": "Rain", "Rain": NONE}


def test_a_repeated_event_is_neither_base_nor_answer():
    # Dog occurs twice under two spellings; Bell would have it as its answer.
    rows = table(("Bell", 0, 1), ("Dog.", 2, 3), ("dog", 8, 9), ("Rain", 4, 6))
    answers, report = asked(rows)
    assert answers == {"Rain": NONE}
    assert dropped(report, "repeat") == [2]


def test_the_same_region_twice_is_one_occurrence():
    answers, _ = asked(table(("Bell", 0, 1), ("bell.", 0, 1), ("Dog", 2, 3)))
    assert answers == {"Bell": "Dog", "Dog": NONE}


def test_two_candidates_for_the_answer():
    # Dog and Rain start together 2 s in: Bell has no clear successor, and they tie as bases.
    answers, report = asked(table(("Bell", 0, 1), ("Dog", 2, 3), ("Rain", 2.04, 6)))
    assert answers == {}
    assert dropped(report, "onset_tie_base", "tiebreak_answer") == [2, 1]


def test_candidates_exactly_epsilon_apart_tie():
    # Half a second is exact in binary.
    rows = table(("Bell", 0, 1), ("Dog", 2, 3), ("Rain", 2.5, 6))
    answers, report = asked(rows, onset_epsilon=0.5)
    assert answers == {}
    assert dropped(report, "onset_tie_base", "tiebreak_answer") == [2, 1]


def test_an_answer_that_begins_before_the_base_is_over():
    answers, report = asked(table(("Bell", 0, 2), ("Dog", 2, 3), ("Rain", 4, 6)))
    assert answers == {"Dog": "Rain", "Rain": NONE}
    assert dropped(report, "overlap") == [1]
    answers, _ = asked(table(("Bell", 0, 2), ("Dog", 2.05, 3)))
    assert answers == {"Bell": "Dog", "Dog": NONE}


def test_the_last_event_needs_neither_gap_nor_single_occurrence_of_others():
    answers, report = asked(table(("Bell", 0, 9), ("Bell", 11, 12), ("Dog", 2, 3)))
    assert answers == {"Dog": NONE}
    assert dropped(report, "repeat") == [1]


def test_reasons_are_tried_in_their_order():
    # Bell ties with Dog, repeats and overlaps: the tie is counted.
    _, report = asked(table(("Bell", 0, 9), ("Bell", 11, 12), ("Dog", 0, 3), ("Rain", 20, 21)))
    assert dropped(report, "onset_tie_base") == [2]


def test_events_are_ranked_by_onset_then_offset_then_row():
    rows = table(("c", 5, 7), ("b", 5, 6), ("a2", 1, 3), ("a1", 1, 2), ("d", 5, 7))
    files, _ = timelines(rows)
    assert [e.text for e in files["a.mp3"]] == ["a1", "a2", "b", "c", "d"]


def test_an_event_keeps_its_first_occurrence_and_all_spellings():
    rows = table(("A  Dog!", 6, 9), ("a dog", 2, 3), ("A  Dog!", 7, 7.5), ("Rain", 4, 5))
    files, _ = timelines(rows)
    assert files["a.mp3"][0].as_record() == {
        "event_index": 0,
        "text": "A  Dog!",
        "captions": ["A  Dog!", "a dog"],
        "onset": 2.0,
        "offset": 3.0,
        "duration": 1.0,
        "occurrence_count": 3,
        "last_offset": 9.0,
    }


# --------------------------------------------------------------------------- the published format

BELLS = table(("Bell.", 0, 1), ("Dog.", 2, 3), ("Rain.", 4, 6), name="b.mp3")
BIRDS = table(("Bird.", 0, 1), ("Wind.", 2, 3), ("Horn.", 4, 6), ("Cat.", 7, 8), name="a10.mp3")
CARS = table(("Car.", 0, 1), ("Steps.", 2, 3), name="a9.mp3")


def test_record_fields_are_the_published_ones():
    records, _ = build(BELLS, NextEventRules())
    record = records[1]
    assert list(record) == [
        "id",
        "task",
        "audio_filename",
        "question",
        "base_event",
        "options",
        "answer_label",
        "answer_type",
        "answer_text",
        "answer_event_index",
    ]
    assert record["id"] == "b.mp3__1"
    assert record["task"] == "event_timeline_next"
    assert record["question"] == 'What happens immediately after this event first appears: "Dog."?'
    assert (record["answer_type"], record["answer_event_index"]) == ("event", 2)
    assert [o["label"] for o in record["options"]] == ["A", "B", "C"]
    by_type = {o["type"]: o for o in record["options"]}
    assert list(by_type["event"])[-2:] == ["type", "label"]
    assert set(by_type["none"]) == {"type", "text", "label"}
    last = records[2]
    assert (last["answer_type"], last["answer_event_index"]) == ("none", None)
    assert last["answer_text"] == "This is the last event, no immediate event after."


def test_compat_shuffles_all_items_with_one_generator():
    records, _ = build([*BELLS, *BIRDS, *CARS], NextEventRules(compat=True))
    rng = random.Random(7)
    expected = []
    # Files in the order of their names as text: "a10" before "a9".
    for texts in (
        ["Bird.", "Wind.", "Horn.", "Cat."],
        ["Car.", "Steps."],
        ["Bell.", "Dog.", "Rain."],
    ):
        for base in texts:
            options = [t for t in texts if t != base] + [NONE]
            rng.shuffle(options)
            expected.append((base, options))
    built = [(r["base_event"]["text"], [o["text"] for o in r["options"]]) for r in records]
    assert built == expected
    assert build([*BELLS, *BIRDS, *CARS], NextEventRules(compat=True))[0] == records


def test_compat_depends_on_other_rows_and_the_default_does_not():
    alone, together = (
        {r["id"]: r for r in build(rows, NextEventRules(compat=True))[0]}
        for rows in (BELLS, [*BIRDS, *BELLS])
    )
    assert any(alone[i] != together[i] for i in alone)
    alone, together = (
        {r["id"]: r for r in build(rows, NextEventRules())[0]} for rows in (BELLS, [*BIRDS, *BELLS])
    )
    assert all(alone[i] == together[i] for i in alone)


def test_the_default_order_follows_the_seed():
    orders = {
        tuple(o["text"] for r in build(BIRDS, NextEventRules(seed=s))[0] for o in r["options"])
        for s in range(5)
    }
    assert len(orders) == 5


def test_each_item_has_an_order_of_its_own():
    rows = [row for i in range(20) for row in table(("a", 0, 1), ("b", 2, 3), name=f"{i}.mp3")]
    records, _ = build(rows, NextEventRules())
    labels = {r["answer_label"] for r in records if r["base_event"]["text"] == "a"}
    assert labels == {"A", "B"}


def test_many_options_get_two_letters():
    rows = table(*[(f"Sound number {i}", 2 * i, 2 * i + 1) for i in range(32)])
    records, _ = build(rows, NextEventRules())
    assert [o["label"] for o in records[0]["options"]][25:] == [
        "Z",
        "AA",
        "AB",
        "AC",
        "AD",
        "AE",
        "AF",
    ]


# --------------------------------------------------------------------------- mends

TWIN = "A fast, oscillating high-pitched bird chirp."
TWIN_TOO = "A fast oscillating high-pitched bird chirp."


def test_an_item_whose_base_or_answer_has_a_twin_goes():
    # Bell's answer and both twins as bases are ambiguous; only the last event stays clear.
    rows = table(("Bell", 0, 1), (TWIN, 2, 3), (TWIN_TOO, 4, 5), ("Rain", 6, 7))
    answers, report = asked(rows, near_duplicate_ratio=0.85)
    assert answers == {"Rain": NONE}
    assert dropped(report, "near_duplicate") == [3]
    answers, _ = asked(rows, near_duplicate_ratio=1.0)
    assert len(answers) == 4, "nothing lies above a ratio of 1"


def test_of_two_distractors_that_read_alike_the_later_goes():
    rows = table(("Bell", 0, 1), ("Dog", 2, 3), (TWIN, 4, 5), (TWIN_TOO, 6, 7), ("Rain", 8, 9))
    records, report = build(rows, NextEventRules(near_duplicate_ratio=0.85))
    texts = {r["base_event"]["text"]: {o["text"] for o in r["options"]} for r in records}
    assert texts == {"Bell": {"Dog", TWIN, "Rain", NONE}, "Rain": {"Bell", "Dog", TWIN, NONE}}
    assert (report.near_duplicate, report.twin_options) == (3, 2)


def test_a_cap_keeps_the_answer_and_none():
    rows = table(*[(f"{w} sound", 2 * i, 2 * i + 1) for i, w in enumerate("abcdefgh")])
    full = {r["id"]: r for r in build(rows, NextEventRules())[0]}
    capped, report = build(rows, NextEventRules(max_options=4))
    assert report.capped_options == 8 * 4
    for record in capped:
        texts = [o["text"] for o in record["options"]]
        assert len(texts) == 4
        assert NONE in texts
        assert record["answer_text"] == full[record["id"]]["answer_text"]
        assert record["answer_text"] in texts
        assert [o["label"] for o in record["options"]] == list("ABCD")
    smallest, _ = build(rows, NextEventRules(max_options=2))
    assert {len(r["options"]) for r in smallest} == {2}
    assert all(r["answer_text"] in [o["text"] for o in r["options"]] for r in smallest)


def many(n, seed=0):
    """Recordings of two to five events, some of which overlap what comes next."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        spans = [
            (f"Sound {k} of {i}", 3 * k, 3 * k + rng.choice([1, 1, 4]))
            for k in range(rng.randint(2, 5))
        ]
        rows += table(*spans, name=f"{i}.mp3")
    return rows


@pytest.mark.parametrize("share", [0.0, 0.2, 0.25, 0.5, 1.0])
def test_none_share_bounds_every_number_of_options(share):
    rows = many(200)
    every, _ = build(rows, NextEventRules())
    kept, report = build(rows, NextEventRules(none_share=share))
    by_size = {}
    for record in kept:
        by_size.setdefault(len(record["options"]), Counter())[record["answer_type"]] += 1
    for size, types in by_size.items():
        assert types["none"] <= share * types.total() + 1e-9
        if share < 1 and any(
            r["answer_type"] == "none" for r in every if len(r["options"]) == size
        ):
            # One more would exceed the share, unless there was none to drop.
            supply = sum(len(r["options"]) == size and r["answer_type"] == "none" for r in every)
            one_more = (types["none"] + 1) / (types.total() + 1)
            assert types["none"] == supply or one_more > share + 1e-9
    kept_ids = {r["id"] for r in kept}
    lost = [r for r in every if r["id"] not in kept_ids]
    assert all(r["answer_type"] == "none" for r in lost)
    assert report.none_share == len(lost)
    assert [r for r in every if r["id"] in kept_ids] == kept, "what stays is unchanged, in order"


def test_an_exact_share_is_reached():
    # Of 20 recordings with two clear events each, 13 keep "a" as a base: 13 event answers allow
    # exactly 7 none answers at 0.35, which binary arithmetic rounds down to 6.
    rows = [
        row
        for i in range(20)
        for row in table(("a", 0, 1 if i < 13 else 3), ("b", 2, 3), name=f"{i}.mp3")
    ]
    _, report = build(rows, NextEventRules(none_share=0.35))
    assert (report.questions, report.none, report.none_share) == (20, 7, 13)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"min_duration": -1}, "min_duration is -1"),
        ({"min_events": 1}, "min_events is 1"),
        ({"min_events": 2.5}, "whole number"),
        ({"onset_epsilon": None}, "onset_epsilon is None"),
        ({"none_share": 1.5}, "none_share is 1.5"),
        ({"none_share": "half"}, "none_share is 'half'"),
        ({"near_duplicate_ratio": float("nan")}, "near_duplicate_ratio is nan"),
        ({"max_options": 1}, "max_options is 1"),
        ({"compat": True, "none_share": 0.5, "max_options": 4}, "none_share, max_options"),
    ],
)
def test_a_senseless_rule_is_refused(rules, words):
    with pytest.raises(ConfigError, match=words):
        NextEventRules(**rules)
