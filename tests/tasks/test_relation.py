"""MCQ-RELATION: each relation by hand, balance, and the published construction word by word."""

import hashlib
import itertools
import json
import random
from collections import Counter

import pytest

from lalm_bench.errors import ConfigError
from lalm_bench.tasks.balance import most_each
from lalm_bench.tasks.order.timeline import timelines
from lalm_bench.tasks.records import parse_record
from lalm_bench.tasks.relation import TEXTS, RelationRules
from lalm_bench.tasks.relation_published import published
from tests.tasks.strong_tables import recordings, tacos


def table(*events, name="a.mp3"):
    return [(name, text, str(on), str(off)) for text, on, off in events]


def relation_of(*events, **rules):
    """Relation of the one pair, seen from the event called A in the table."""
    records, report = RelationRules(**rules).build(table(*events))
    if not records:
        return None, report
    (record,) = records
    kind = record["answer_relation"]
    if record["event_a"]["text"] != events[0][0] and "starts_" in kind:
        kind = {"a_starts_before_b": "a_starts_after_b"}.get(kind, "a_starts_before_b")
    return kind, report


@pytest.mark.parametrize(
    ("dog", "rain", "kind"),
    [
        ((0, 1), (2, 3), "a_starts_before_b"),
        ((4, 5), (2, 3), "a_starts_after_b"),
        ((0, 3), (2, 5), "a_overlaps_b"),
        ((0, 9), (2, 5), "a_overlaps_b"),
        ((2, 3), (2.05, 5), "a_b_start_same_time"),
        ((0, 2), (2.2, 3), None),  # apart, but by less than the margin
        ((0, 2), (1.9, 3), None),  # overlap, but by less than the margin
        ((0, 2), (0.2, 3), None),  # neither together nor clearly one after the other
    ],
)
def test_each_relation(dog, rain, kind):
    found, report = relation_of(("dog", *dog), ("rain", *rain))
    assert found == kind
    assert report.get("unclear", 0) == (kind is None)


def test_no_two_options_hold_at_once():
    """For any two spans the wording of at most one option is true."""
    rng = random.Random(1)
    for _ in range(2000):
        a, b = (sorted(rng.sample(range(8), 2)) for _ in range(2))
        true = {
            "a_starts_before_b": a[1] < b[0],
            "a_starts_after_b": b[1] < a[0],
            "a_overlaps_b": min(a[1], b[1]) > max(a[0], b[0]) and a[0] != b[0],
            "a_b_start_same_time": a[0] == b[0],
        }
        assert true.keys() == TEXTS.keys()
        assert sum(true.values()) <= 1
        found, _ = relation_of(("dog", *a), ("rain", *b), min_duration=0)
        assert found is None or true[found]


def test_repeated_sounds_and_near_duplicates_are_not_asked_about():
    rows = table(("dog", 0, 1), ("dog", 8, 9), ("rain", 2, 3), ("bell", 4, 5))
    records, report = RelationRules().build(rows)
    assert [r["id"] for r in records if "dog" in r["question"]] == []
    assert (len(records), report["repeated_or_alike"]) == (1, 1)
    rows = table(("A high chirp of birds", 0, 1), ("A high chirp of bird", 2, 3), ("bell", 4, 5))
    assert RelationRules().build(rows)[0] == []
    assert len(RelationRules(near_duplicate_ratio=None, max_share=1).build(rows)[0]) == 3


def test_answers_places_and_relations_are_balanced():
    records, report = RelationRules().build(recordings(400))
    assert len(records) > 300
    for record in records:
        parse_record(record, "here")
    kinds = Counter(r["answer_relation"] for r in records)
    assert set(kinds) == set(TEXTS)
    assert max(kinds.values()) <= 0.4 * len(records)
    for kind, count in kinds.items():
        labels = [r["answer_label"] for r in records if r["answer_relation"] == kind]
        places = [labels.count(label) for label in "ABCD"]
        assert sum(places) == count
        assert max(places) - min(places) <= 1
    pairs = {frozenset((r["audio_filename"], *r["id"].split("__")[1:])) for r in records}
    assert len(pairs) == len(records), "no pair is asked in both orders"
    assert max(Counter(r["audio_filename"] for r in records).values()) <= 4
    assert report["questions"] == len(records)


def test_a_common_relation_is_bounded_and_the_rest_stays():
    rows = [row for i in range(40) for row in table(("dog", 0, 5), ("rain", 2, 7), name=f"{i}.wav")]
    rows += table(("dog", 0, 1), ("rain", 2, 3), ("bell", 5, 6), name="x.wav")
    rows += table(("dog", 0, 2), ("rain", 0, 3), ("bell", 5, 6), name="y.wav")
    every, _ = RelationRules(max_share=1).build(rows)
    assert len(every) == 46
    kept, report = RelationRules().build(rows)
    kinds = Counter(r["answer_relation"] for r in kept)
    assert kinds["a_overlaps_b"] / len(kept) <= 0.4
    assert (kinds["a_overlaps_b"] + 1) / (len(kept) + 1) > 0.4
    assert kinds.total() - kinds["a_overlaps_b"] == 6
    assert report["max_share"] == 46 - len(kept)


def test_the_order_of_the_table_changes_nothing_and_the_seed_does():
    rows = recordings(60)
    names = sorted({row[0] for row in rows}, reverse=True)
    turned = [row for name in names for row in rows if row[0] == name]
    assert RelationRules().build(turned) == RelationRules().build(rows)
    assert RelationRules(seed=8).build(rows)[0] != RelationRules().build(rows)[0]


@pytest.mark.parametrize("sizes", [[5], [3, 9], [50, 20, 1], [100] * 4, [1000, 900, 3, 2], [7, 0]])
@pytest.mark.parametrize("share", [0.25, 0.4, 1.0])
def test_the_bound_is_the_greatest_that_fits(sizes, share):
    groups = [s for s in sizes if s]
    limit = max(share, 1 / len(groups)) + 1e-12

    def fits(bound):
        kept = [min(s, bound) for s in groups]
        return max(kept) <= limit * sum(kept)

    assert most_each(sizes, share) == max(b for b in range(max(sizes) + 1) if b == 0 or fits(b))


# --------------------------------------------------------------------------- as published


def literal(rows, most, seed=7):
    """The published rules, written again without regard for speed."""
    files, _ = timelines(rows)
    names = [
        "a_starts_before_b",
        "a_starts_after_b",
        "a_overlaps_b",
        "a_b_start_same_time",
        "cannot_be_determined",
    ]
    kept = []
    for file, events in files.items():
        pairs = []
        for a, b in itertools.product(events, events):
            if a is b:
                continue
            gap = abs(a.onset - b.onset)
            shared = min(a.offset, b.offset) - max(a.onset, b.onset)
            if a.occurrences > 1 or b.occurrences > 1:
                kind, score = names[4], 0
            elif gap <= 0.05:
                kind, score = names[3], max(0, 0.05 - gap)
            elif shared > 0:
                kind, score = names[2], shared
            else:
                kind = names[0] if a.onset < b.onset else names[1]
                score = gap + max(0, max(a.onset, b.onset) - min(a.offset, b.offset))
            pairs.append((-score, f"{file}__{a.index}__{b.index}", kind))
        kept += sorted(pairs)[:4]
    if len(kept) > most:
        chosen = [p for n in names for p in sorted(q for q in kept if q[2] == n)[: most // 5]]
        rest = sorted(p for p in kept if p not in chosen)
        kept = chosen + rest[: most - len(chosen)]
    found = []
    for _, item, kind in sorted(kept, key=lambda p: p[1]):
        order = sorted(
            range(5),
            key=lambda i: hashlib.sha256(f"{seed}:{item}:{i}:{names[i]}".encode()).hexdigest(),
        )
        found.append((item, kind, [names[i] for i in order]))
    return found


@pytest.mark.parametrize("most", [12_000, 90])
def test_compat_follows_the_published_rules(most):
    rows = recordings(60, seed=3)
    files, counts = timelines(rows)
    records = published(files, 7, 0.05, 4, counts, most)
    built = [
        (r["id"], r["answer_relation"], [o["relation"] for o in r["options"]]) for r in records
    ]
    assert built == literal(rows, most)
    if most == 12_000:
        assert RelationRules(compat=True).build(rows)[0] == records
    assert {len(r["options"]) for r in records} == {5}
    record = records[0]
    assert list(record) == [
        *("id", "task", "task_id", "audio_filename", "question", "event_a", "event_b"),
        *("options", "answer_label", "answer_type", "answer_relation", "answer_text"),
    ]
    assert record["question"].startswith(
        "In this audio, what is the temporal relation between Event A and Event B?\nEvent A: "
    )


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"max_share": 2}, "task.max_share=2"),
        ({"max_pairs_per_audio": 0}, "task.max_pairs_per_audio=0"),
        ({"min_margin": None}, "task.min_margin=None"),
        ({"near_duplicate_ratio": float("nan")}, "near_duplicate_ratio"),
    ],
)
def test_a_senseless_rule_is_refused(rules, words):
    with pytest.raises(ConfigError, match=words):
        RelationRules(**rules)


def test_the_task_runs(bench, run_folders, tmp_path):
    folder = tacos(tmp_path / "tacos", recordings(12))
    words = ("task=mcq_relation", f"task.source.root={folder}", "model=random", "tracking=none")
    bench(*words, "figures=false", check=0)
    (run,) = run_folders().values()
    values = json.loads((run / "metrics.json").read_text())["metrics"]
    assert values["n"] > 10
    assert values["chance"] == 0.25
    by = json.loads((run / "analysis.json").read_text())
    assert {row["value"] for row in by["by_answer_relation"]} <= set(TEXTS)
    assert by["dataset"]["questions"] == values["n"]
