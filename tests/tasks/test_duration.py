"""MCQ-DURATION: clear differences only, and nothing but the lengths tells the answer."""

import itertools
import json
from collections import Counter

import pytest

from lalm_bench.errors import ConfigError
from lalm_bench.tasks.duration import DurationRules
from lalm_bench.tasks.records import parse_record
from tests.tasks.strong_tables import recordings, tacos


def length(option):
    return option["offset"] - option["onset"]


def biased(n):
    """Recordings whose longer sound mostly starts first and has the longer caption."""
    rows = recordings(n)
    names = {row[0] for row in rows}
    for k, name in enumerate(sorted(names)):
        if k % 3:
            rows.append((name, "A very long caption for a long sound at the start", "-5", "8"))
    return rows


@pytest.mark.parametrize("rows", [recordings(300), biased(300)], ids=["even", "biased"])
def test_guessers_are_at_chance(rows):
    """Position, order in time, length of text, and any rule that combines them."""
    records, report = DurationRules().build(rows)
    assert len(records) == report["questions"] > 50
    for record in records:
        parse_record(record, "here")

    def place(record):
        return 0, 1

    def time(record):
        onsets = [o["onset"] for o in record["options"]]
        return None if onsets[0] == onsets[1] else (0, 1) if onsets[0] < onsets[1] else (1, 0)

    def text(record):
        sizes = [len(o["text"]) for o in record["options"]]
        return None if sizes[0] == sizes[1] else (0, 1) if sizes[0] > sizes[1] else (1, 0)

    def share(guess):
        hits = []
        for record in records:
            picked = guess(record)
            if picked is None:
                hits.append(0.5)
            else:
                hits.append(float(record["options"][picked]["label"] == record["answer_label"]))
        return sum(hits) / len(hits)

    for rule in (place, time, text):
        for which in (0, 1):
            guess = share(lambda r, rule=rule, w=which: rule(r) and rule(r)[w])
            assert guess == pytest.approx(0.5, abs=1.01 / len(records) if rule is place else 1e-9)
    # A rule may follow either hint depending on both: a table of what to pick for each pattern.
    for picks in itertools.product((0, 1), repeat=3):

        def combined(record, picks=picks):
            first, longer = time(record), text(record)
            hint = first or longer
            pattern = 2 if longer is None or first is None else int(first == longer)
            return hint and hint[picks[pattern]]

        assert share(combined) == pytest.approx(0.5, abs=1e-9)


def test_every_pair_differs_clearly():
    rules = DurationRules(min_ratio=3, min_difference=2)
    records, report = rules.build(recordings(200))
    assert records
    assert report["similar"] > 0
    for record in records:
        short, long = sorted(record["options"], key=length)
        assert long["label"] == record["answer_label"]
        assert length(long) >= 3 * length(short)
        assert length(long) - length(short) >= 2
        assert short["occurrence_count"] == long["occurrence_count"] == 1
    assert max(Counter(r["audio_filename"] for r in records).values()) <= 2


def test_what_has_no_match_is_counted():
    rows = [("a.wav", "A long dog", "0", "5"), ("a.wav", "bell", "6", "7")]
    records, report = DurationRules().build(rows)
    assert (records, report["unmatched"]) == ([], 1)
    rows += [("b.wav", "A long dog", "0", "1"), ("b.wav", "bell", "2", "9")]
    records, report = DurationRules().build(rows)
    assert sorted(r["answer_text"] for r in records) == ["A long dog", "bell"]
    assert report["unmatched"] == 0
    assert {r["answer_label"] for r in records} == {"A", "B"}
    assert [(r["longer_starts"], r["longer_text"]) for r in records] == [
        ("first", "longer"),
        ("second", "shorter"),
    ]


def test_the_order_of_the_table_changes_nothing_and_the_seed_does():
    rows = recordings(60)
    names = sorted({row[0] for row in rows}, reverse=True)
    turned = [row for name in names for row in rows if row[0] == name]
    assert DurationRules().build(turned) == DurationRules().build(rows)
    assert DurationRules(seed=8).build(rows)[0] != DurationRules().build(rows)[0]


@pytest.mark.parametrize("rules", [{"min_ratio": 1.0}, {"min_difference": -1}, {"min_events": 1}])
def test_a_senseless_rule_is_refused(rules):
    with pytest.raises(ConfigError, match=f"task.{next(iter(rules))}="):
        DurationRules(**rules)


def test_the_task_runs(bench, run_folders, tmp_path):
    folder = tacos(tmp_path / "tacos", recordings(25))
    words = ("task=mcq_duration", f"task.source.root={folder}", "model=random", "tracking=none")
    bench(*words, "figures=false", check=0)
    (run,) = run_folders().values()
    values = json.loads((run / "metrics.json").read_text())["metrics"]
    assert values["n"] > 5
    assert values["chance"] == 0.5
    assert {"by_longer_starts", "by_longer_text"} <= json.loads(
        (run / "analysis.json").read_text()
    ).keys()


def test_bad_input_is_one_line(bench, tmp_path):
    done = bench("task=mcq_duration", f"task.source.root={tmp_path}", "model=random", check=2)
    assert "lalm_bench.tasks.tacos" in done.stderr
    assert done.stderr.count("\n") == 1
    folder = tacos(tmp_path / "t", [("a.wav", "dog", "0", "1"), ("a.wav", "rain", "2", "3")])
    done = bench("task=mcq_duration", f"task.source.root={folder}", "model=random", check=2)
    assert "0 questions" in done.stderr
    assert "similar 1" in done.stderr
