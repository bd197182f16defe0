"""MCQ-ORDER at large: invariants of any table, then the table, the task and the verb."""

import csv
import json
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.errors import DataError
from lalm_bench.parsing import Parsed
from lalm_bench.parsing.compat.tacobelal import normalise
from lalm_bench.tasks.order.build import build, skip_reason
from lalm_bench.tasks.order.rules import NextEventRules
from lalm_bench.tasks.order.task import McqOrder, from_csv, main
from lalm_bench.tasks.order.timeline import read_annotations, timelines
from lalm_bench.tasks.records import parse_record, read_records
from lalm_bench.tasks.strong_captions import StrongCaptions
from tests.tasks.test_order import BELLS, many

# --------------------------------------------------------------------------- properties

TIMES = st.integers(0, 80).map(lambda n: n * 0.05)
SPELLINGS = st.sampled_from(
    ["a bell", "A bell.", "A  BELL!", "a dog", "rain", "Rain?", "wind", "a horn"]
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a.mp3", "b.mp3"]),
        SPELLINGS,
        TIMES,
        st.sampled_from([-0.5, 0.0, 0.45, 0.5, 0.55, 1.0]),
    ).map(lambda r: (r[0], r[1], repr(r[2]), repr(r[2] + r[3]))),
    max_size=16,
)


def literal_reason(events, base, epsilon):
    """The published filters word by word, over all events instead of neighbours."""
    others = [e for e in events if e.index != base.index]
    if any(abs(e.onset - base.onset) <= epsilon for e in others):
        return "onset_tie_base"
    if base.occurrences > 1:
        return "repeat"
    if base.index == len(events) - 1:
        return None
    answer = events[base.index + 1]
    if any(
        abs(e.onset - answer.onset) <= epsilon
        for e in others
        if e.index != answer.index and e.onset > base.onset + epsilon
    ):
        return "tiebreak_answer"
    if answer.occurrences > 1:
        return "repeat"
    return "overlap" if answer.onset < base.offset + epsilon else None


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_filters_agree_with_the_literal_rules(rows):
    files, _ = timelines(rows)
    for events in files.values():
        for base in events:
            assert skip_reason(events, base.index, 0.05) == literal_reason(events, base, 0.05)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.booleans())
def test_invariants_of_every_question(rows, compat):
    records, report = build(rows, NextEventRules(compat=compat))
    files, _ = timelines(rows)
    assert len({r["id"] for r in records}) == len(records)
    for record in records:
        parse_record(record, "here")
        base = record["base_event"]
        events = files[record["audio_filename"]]
        offered = [o for o in record["options"] if o["type"] == "event"]
        assert base["occurrence_count"] == 1
        assert all(o["duration"] >= 0.5 for o in [base, *offered])
        assert sorted(o["event_index"] for o in offered) == [
            e.index for e in events if e.index != base["event_index"]
        ]
        assert all(abs(o["onset"] - base["onset"]) > 0.05 for o in offered)
        if record["answer_type"] == "none":
            assert base["event_index"] == len(events) - 1
        else:
            assert record["answer_event_index"] == base["event_index"] + 1
            assert events[base["event_index"] + 1].onset >= base["offset"] + 0.05
    used = len(rows) - report.empty - report.invalid_time - report.short
    assert report.rows == len(rows)
    assert used >= report.events
    skipped = report.onset_tie_base + report.repeat + report.tiebreak_answer + report.overlap
    assert report.events == report.questions + skipped


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS.map(lambda rows: [(f"z{r[0]}", *r[1:]) for r in rows]))
def test_other_recordings_never_change_an_item(rows, more):
    rules = NextEventRules(near_duplicate_ratio=0.85, max_options=3)
    mine, _ = build(rows, rules)
    both, _ = build([*more, *rows], rules)
    assert [r for r in both if not r["audio_filename"].startswith("z")] == mine


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_normalising_twice_is_normalising_once(text):
    assert normalise(normalise(text)) == normalise(text)


# --------------------------------------------------------------------------- table, task and verb


def save(path, rows, header=("filename", "text", "onset", "offset")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_the_table_may_hold_commas_quotes_breaks_and_more_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        b"\xef\xbb\xbfrow,offset,text,onset,filename\r\n"
        b'1,1.5,"A bell, then ""ding"".",0,a.mp3\r\n\r\n2,3,"two\nlines",2\r\n'
    )
    assert [row for _, row in read_annotations(path)] == [
        ("a.mp3", 'A bell, then "ding".', "0", "1.5"),
        ("", "two\nlines", "2", "3"),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"filename,text,start,end\n", "no column onset, offset"),
        (b"", "no column filename, text, onset, offset"),
        (b"filename,text,onset,offset\n\xff,a,0,1\n", "not UTF-8"),
        (b"filename,text,onset,offset\n" + b"x" * 200_000, "line 2: not readable as CSV"),
        (b"filename,text,onset,offset\na.mp3,Bell,0,1\n", "0 questions.*few_events 1.*; loosen"),
    ],
)
def test_a_bad_table_is_named_on_one_line(tmp_path, content, words):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        from_csv(path, NextEventRules())
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_the_verb_writes_what_the_task_asks(tmp_path, capsys, pytestconfig):
    (tmp_path / "audio").mkdir()
    table_path = save(tmp_path / "annotations_strong.csv", many(20))
    out = tmp_path / "q.jsonl"
    assert main([str(table_path), str(out), "--max-options", "3", "--none-share", "0.3"]) == 0
    records = read_records(out)
    assert f"{len(records)} questions" in capsys.readouterr().out

    with initialize_config_dir(str(pytestconfig.rootpath / "conf"), version_base=None):
        config = compose(
            "task/mcq_order",
            overrides=[f"task.source.root={tmp_path}", "task.max_options=3", "task.none_share=0.3"],
        ).task
    task = instantiate(config, parser=lambda text, choices: Parsed(None, "none"))
    assert isinstance(task, McqOrder)
    assert task.missing(audio=True) == []
    assert task.inputs() == [table_path]
    samples = task.samples()
    assert [s.id for s in samples] == [r.id for r in records]
    for sample, record in zip(samples, records, strict=True):
        assert [(c.label, c.text) for c in sample.choices] == [
            (o.label, o.text) for o in record.options
        ]
        assert sample.target == record.answer_label
        assert sample.audio[0].path == str(tmp_path / "audio" / record.audio_filename)
        assert sample.cluster == record.audio_filename
        assert sample.meta["answer_type"] in ("event", "none")
        assert sample.meta["task_id"] == "MCQ-ORDER"


def test_the_config_states_the_published_values(pytestconfig):
    with initialize_config_dir(str(pytestconfig.rootpath / "conf"), version_base=None):
        config = compose("task/mcq_order").task
    defaults = vars(NextEventRules())
    assert {name: config[name] for name in defaults} == defaults


def test_missing_says_how_to_get_the_data(tmp_path):
    task = McqOrder(
        name="o",
        prompt="{question}",
        parser=lambda text, choices: Parsed(None, "none"),
        source=StrongCaptions(
            root="here",
            annotations=str(tmp_path / "t.csv"),
            audio_root=str(tmp_path / "audio"),
        ),
    )
    [deaf] = task.missing(audio=False)
    assert "python -m lalm_bench.tasks.tacos here --skip-audio" in deaf
    assert "task.source.root" in deaf
    captions, recordings = task.missing(audio=True)
    assert "--skip-audio" not in captions
    assert "`python -m lalm_bench.tasks.tacos here` (1.6 GB of audio)" in recordings


def test_the_verb_refuses_bad_input_with_one_line(tmp_path, capsys):
    path = save(tmp_path / "t.csv", BELLS)
    before = path.read_bytes()
    assert main([str(path), str(path)]) == 2
    assert main([str(tmp_path / "absent.csv"), str(tmp_path / "q.jsonl")]) == 2
    assert main([str(path), str(tmp_path / "q.jsonl"), "--none-share", "2"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in errors] == [True, True, True]
    assert path.read_bytes() == before
    assert not (tmp_path / "q.jsonl").exists()


def test_the_verb_runs_as_a_module_and_stays_light(tmp_path):
    path = save(tmp_path / "t.csv", BELLS)
    out = tmp_path / "q.jsonl"
    command = [sys.executable, "-m", "lalm_bench.tasks.order", str(path), str(out), "--compat"]
    subprocess.run(command, check=True, capture_output=True)
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [
        "b.mp3__0",
        "b.mp3__1",
        "b.mp3__2",
    ]
    heavy = "numpy pandas torch requests rich hydra"
    probe = (
        "import sys, lalm_bench.tasks.order, lalm_bench.tasks.tacos; "
        f"print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    assert seen.stdout.strip() == "[]"
