"""MCQ-SAFETY: crossed recordings leave nothing to guess by, and the published construction."""

import json
import random
from collections import Counter

import pytest

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.parsing.compat.tacobelal import normalise
from lalm_bench.tasks.presence import PresenceRules, content_words
from lalm_bench.tasks.records import parse_record
from tests.tasks.strong_tables import recordings, tacos

ROWS = recordings(200)
CAPTIONS = {}
for _name, _text, *_ in ROWS:
    CAPTIONS.setdefault(_name, set()).add(_text)


def build(rows=ROWS, **rules):
    records, report = PresenceRules(**{"recordings": None, **rules}).build(rows)
    for record in records:
        parse_record(record, "here")
    return records, report


def test_what_is_false_shares_no_word_with_the_recording():
    records, report = build()
    assert len(records) == report["questions"] > 300
    for record in records:
        own, event = CAPTIONS[record["audio_filename"]], record["query_event"]
        if record["answer_type"] == "true":
            assert event in own
            assert record["query_source_audio"] == record["audio_filename"]
        else:
            assert all(not content_words(event) & content_words(text) for text in own)
            assert event in CAPTIONS[record["query_source_audio"]]


def test_no_rule_without_the_sound_beats_chance():
    """Word, recording, option order and place of True: each is right exactly half the time."""
    records, _ = build()
    for key in (
        lambda r: r["query_event"],
        lambda r: r["audio_filename"],
        lambda r: tuple(o["text"] for o in r["options"]),
        lambda r: r["cluster"],
    ):
        answers = {}
        for record in records:
            answers.setdefault(key(record), Counter())[record["answer_type"]] += 1
        assert all(c["true"] == c["false"] for c in answers.values())
    labels = Counter((r["answer_label"], r["answer_type"]) for r in records)
    assert len(set(labels.values())) == 1
    assert len(labels) == 4


def test_captions_that_differ_in_form_only_share_a_word():
    assert content_words("Dogs are barking") & content_words("a dog barks loudly")
    assert content_words("A car passes by") & content_words("Cars passing")
    assert not content_words("A dog barks") & content_words("Rain falls on the roof")
    assert not content_words("bell 01") & content_words("horn 02")
    assert content_words("the sound of a sound") == frozenset()


def test_recordings_that_share_a_word_are_never_crossed():
    alike = [("1.wav", "A dog barks", "0", "1"), ("2.wav", "Dogs barking", "0", "1")]
    assert build(alike)[0] == []
    records, report = build([*alike, ("3.wav", "Rain", "0", "1")])
    assert len(records) == 4
    assert (report["without_partner"], report["files"]) == (1, 3)


def test_the_number_of_recordings_and_the_seed():
    records, _ = build(recordings=10)
    assert len(records) == 20
    assert len({r["audio_filename"] for r in records}) == 10
    assert build(recordings=10)[0] == records
    assert build(list(reversed(ROWS)), recordings=10)[0] == records
    assert build(recordings=10, seed=8)[0] != records
    assert len({r["id"] for r in records}) == 20


# --------------------------------------------------------------------------- as published


def literal(rows, n, seed):
    """The published draw, written again: id, answer, event and option order."""
    captions = {}
    for name, text, *_ in rows:
        captions.setdefault(name, {}).setdefault(normalise(text), text)
    pool = sorted((f, k, t) for f in captions for k, t in captions[f].items())
    corpus = {k for _, k, _ in pool}
    rng = random.Random(seed)
    names = sorted(f for f in captions if set(captions[f]) != corpus)
    rng.shuffle(names)
    truth = [True] * (n // 2) + [False] * (n // 2)
    rng.shuffle(truth)
    found = []
    for name, present in zip(names[:n], truth, strict=True):
        if present:
            event = rng.choice(sorted(captions[name].items()))[1]
        else:
            for _ in range(min(512, max(32, len(pool)))):
                other, key, event = rng.choice(pool)
                if other != name and key not in captions[name]:
                    break
        order = [True, False]
        rng.shuffle(order)
        found.append((f"{name}__safety_presence", present, event, [str(o) for o in order]))
    return found


def test_compat_follows_the_published_draw():
    records, _ = build(recordings=100, compat=True)
    built = [
        (
            r["id"],
            r["answer_type"] == "true",
            r["query_event"],
            [o["text"] for o in r["options"]],
        )
        for r in records
    ]
    assert built == literal(ROWS, 100, 7)
    assert Counter(r["answer_text"] for r in records) == {"True": 50, "False": 50}
    record = records[0]
    assert list(record) == [
        *("id", "task", "task_id", "audio_filename", "question", "query_event"),
        *("query_event_normalized", "query_source", "query_source_audio", "options"),
        *("answer_label", "answer_type", "answer_text"),
    ]
    assert record["question"] == f'Is this event in the audio: "{record["query_event"]}"?'
    with pytest.raises(DataError, match=r"not 1000; lower task\.recordings"):
        build(recordings=1000, compat=True)


@pytest.mark.parametrize(
    "rules", [{"recordings": 3}, {"recordings": 0}, {"recordings": None, "compat": True}]
)
def test_a_senseless_rule_is_refused(rules):
    with pytest.raises(ConfigError, match=r"task\.recordings"):
        PresenceRules(**rules)


def test_the_task_runs(bench, run_folders, tmp_path):
    folder = tacos(tmp_path / "tacos", recordings(10))
    words = ("task=mcq_presence", f"task.source.root={folder}", "model=random", "tracking=none")
    bench(*words, "figures=false", check=0)
    (run,) = run_folders().values()
    values = json.loads((run / "metrics.json").read_text())["metrics"]
    assert values["n"] == 4 * values["n_clusters"]
    assert values["chance"] == values["best_constant_answer"] == 0.5
