"""The JSONL contract: what is accepted, and the one line that says what is wrong."""

import copy
import json

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from lalm_bench.errors import DataError
from lalm_bench.parsing import Parsed
from lalm_bench.tasks.records import (
    RecordedMCQ,
    parse_record,
    read_records,
    to_sample,
    write_records,
)
from lalm_bench.types import AudioRef, Choice, Generation

# Labels with gaps and of two letters, as reviewed sets have them.
GOOD = {
    "id": "7.mp3__0",
    "audio_filename": "7.mp3",
    "question": 'What happens immediately after this event first appears: "A bell."?',
    "options": [
        {"label": "A", "text": "A dog barks.", "type": "event", "event_index": 1},
        {"label": "C", "text": "Rain.", "type": "event", "event_index": 2},
        {"label": "AF", "text": "None of it.", "type": "none"},
    ],
    "answer_label": "C",
    "answer_text": "Rain.",
    "difficulty": "hard",
}


def changed(**fields):
    record = copy.deepcopy(GOOD)
    for name, value in fields.items():
        if value is ...:
            del record[name]
        else:
            record[name] = value
    return record


def option(**fields):
    listed = copy.deepcopy(GOOD["options"])
    for name, value in fields.items():
        listed[0][name] = value
    return changed(options=[{k: v for k, v in o.items() if v is not ...} for o in listed])


def write(path, *lines):
    path.write_text("\n".join([x if isinstance(x, str) else json.dumps(x) for x in lines]))
    return path


def never(text, choices):
    return Parsed(None, "none")


def test_a_record_becomes_a_sample_with_its_own_labels(tmp_path):
    [record] = read_records(write(tmp_path / "q.jsonl", GOOD))
    sample = to_sample(record, "clips", groups=["difficulty"])
    assert sample.id == "7.mp3__0"
    assert sample.audio == (AudioRef("clips/7.mp3"),)
    assert sample.choices == (
        Choice("A", "A dog barks."),
        Choice("C", "Rain."),
        Choice("AF", "None of it."),
    )
    assert sample.target == "C"
    assert sample.cluster == "7.mp3"
    assert sample.meta == {
        "task_id": "MCQ-ORDER",
        "answer_type": "event",
        "option_types": {"A": "event", "C": "event", "AF": "none"},
        "difficulty": "hard",
    }


def test_blank_lines_and_a_byte_order_mark_are_skipped_and_order_is_kept(tmp_path):
    path = tmp_path / "q.jsonl"
    lines = ["", json.dumps(changed(id="b")), "   ", json.dumps(changed(id="a")), ""]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert [r.id for r in read_records(path)] == ["b", "a"]


@pytest.mark.parametrize(("given", "kept"), [("MCQ-SAFETY", "MCQ-SAFETY"), (" ", "MCQ-ORDER")])
def test_task_id(tmp_path, given, kept):
    [record] = read_records(write(tmp_path / "q.jsonl", changed(task_id=given)))
    assert record.task_id == kept


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{not json", ["not JSON"]),
        ("[1]", ["not a JSON object"]),
        (changed(id=...), ["'id' is missing"]),
        (changed(id=12), ["'id' must be a non-empty string"]),
        (changed(question="  "), ["7.mp3__0", "'question' must be a non-empty string"]),
        (changed(audio_filename=...), ["7.mp3__0", "'audio_filename' is missing"]),
        (changed(answer_text=...), ["'answer_text' is missing"]),
        (changed(options=[]), ["'options' must be a non-empty list"]),
        (changed(options={"A": "x"}), ["'options' must be a non-empty list"]),
        (changed(options=["x"]), ["option 1", "not a JSON object"]),
        (option(type=...), ["option 1", "'type' is missing"]),
        (option(text=""), ["option 1", "'text' must be"]),
        (option(event_index="1"), ["option 1", "event_index '1'"]),
        (option(event_index=True), ["option 1", "event_index True"]),
        (option(label="C"), ["share a label", "C, C, AF"]),
        (changed(answer_label="B"), ["answer_label 'B' is none of A, C, AF"]),
        (changed(answer_text="Wind."), ["answer_text 'Wind.'", "option C, 'Rain.'"]),
        (changed(id="first"), ["'first' stands in line 1 already"]),
        (changed(id="other", task_id="MCQ-RELATION"), ["split the file by task_id"]),
    ],
)
def test_a_bad_line_is_named_on_one_line(tmp_path, bad, words):
    path = write(tmp_path / "q.jsonl", changed(id="first"), "", bad)
    with pytest.raises(DataError) as caught:
        read_records(path)
    message = str(caught.value)
    assert message.startswith(f"{path} line 3")
    assert "\n" not in message
    assert ";" in message, "a remedy follows the fault"
    for word in words:
        assert word in message


def test_a_file_without_questions_or_text_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no question"):
        read_records(write(tmp_path / "q.jsonl", "", " "))
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "\xe9"}')
    with pytest.raises(DataError, match="not UTF-8"):
        read_records(tmp_path / "latin.jsonl")
    with pytest.raises(DataError, match=r"absent\.jsonl: cannot be read .*set task\.dataset"):
        read_records(tmp_path / "absent.jsonl")


def test_an_unknown_group_is_refused():
    with pytest.raises(DataError, match=r"no field 'colour'.*difficulty.*task\.groups"):
        to_sample(parse_record(GOOD, "here"), "clips", groups=["colour"])


def test_what_is_written_reads_back(tmp_path):
    path = tmp_path / "new" / "q.jsonl"
    records = [changed(id="é\u2028x"), GOOD]
    write_records(records, path)
    assert [r.raw for r in read_records(path)] == records
    assert [p.name for p in path.parent.iterdir()] == ["q.jsonl"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write(tmp_path / "q.jsonl", GOOD)
    before = path.read_bytes()

    def broken():
        yield GOOD
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_records(broken(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["q.jsonl"]
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_records([GOOD], tmp_path / "file" / "q.jsonl")


def test_the_config_builds_the_task_with_the_published_prompt(tmp_path, pytestconfig):
    path = write(tmp_path / "q.jsonl", GOOD)
    with initialize_config_dir(str(pytestconfig.rootpath / "conf"), version_base=None):
        config = compose(
            "task/mcq",
            overrides=[
                f"task.dataset={path}",
                f"task.audio_root={tmp_path}",
                "task.groups=[difficulty]",
            ],
        ).task
    task = instantiate(config, parser=never)
    assert isinstance(task, RecordedMCQ)
    assert task.inputs() == [path]
    assert task.missing(audio=True) == []
    [sample] = task.samples()
    [request] = task.requests(sample, Generation())
    assert request.messages[0].parts[1].text == (
        'What happens immediately after this event first appears: "A bell."?\n\n'
        "Choose exactly one option.\n"
        "A. A dog barks.\nC. Rain.\nAF. None of it.\n\n"
        "Return only the option label from: A, C, AF."
    )


def test_only_a_model_that_hears_needs_the_recordings(tmp_path):
    task = RecordedMCQ(
        name="q",
        prompt="{question}",
        parser=never,
        dataset=str(tmp_path / "q.jsonl"),
        audio_root=str(tmp_path / "clips"),
    )
    assert ["task.dataset" in line for line in task.missing(audio=False)] == [True]
    write(tmp_path / "q.jsonl", GOOD)
    assert task.missing(audio=False) == []
    assert ["task.audio_root" in line for line in task.missing(audio=True)] == [True]
