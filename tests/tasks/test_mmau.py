"""MMAU and MMAR: the published files, their faults, and the official string match."""

import json

import pytest

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.parsing.compat.mmau import string_match
from lalm_bench.parsing.strict import extract
from lalm_bench.tasks.mmar import Mmar
from lalm_bench.tasks.mmau import Mmau
from lalm_bench.types import Generation, Response

QUIET = ("tracking=none", "figures=false")
MMAU = {
    "id": "u1",
    "audio_id": "./test-mini-audios/u1.wav",
    "question": "What barks?",
    "choices": ["Dog", "A cat"],
    "answer": "Dog",
    "dataset": "AudioSet",
    "task": "sound",
    "split": "test-mini",
    "category": ["Reasoning"],
    "sub-category": "Source",
    "difficulty": "easy",
}
MMAR = {
    "id": "video_00-00-01_00-00-02",
    "audio_path": "./audio/video_00-00-01_00-00-02.wav",
    "question": "What barks?",
    "choices": ["Dog", "Cat", ""],
    "answer": "Dog",
    "modality": "sound",
    "category": "Signal Layer",
    "sub-category": "x",
    "language": None,
    "url": "https://example.org/1",
}


def mmau(tmp_path, *rows, **more):
    path = tmp_path / "mmau.json"
    path.write_text(json.dumps(rows))
    return Mmau(
        name="mmau",
        prompt="{question} {choices}",
        parser=extract,
        dataset=str(path),
        audio_root=str(tmp_path),
        **more,
    )


def mmar(tmp_path, *rows, **more):
    path = tmp_path / "mmar.jsonl"
    path.write_text("\r\n".join(json.dumps(row) for row in rows))
    return Mmar(
        name="mmar",
        prompt="{question} {choices}",
        parser=extract,
        dataset=str(path),
        audio_root=str(tmp_path),
        **more,
    )


def values(task, text):
    (sample,) = task.samples()
    return task.score(sample, [Response("k", sample.id, text)])[0].values


def test_an_item_of_mmau(tmp_path):
    (sample,) = mmau(tmp_path, MMAU).samples()
    assert (sample.id, sample.target, sample.cluster) == ("u1", "A", MMAU["audio_id"])
    assert sample.audio[0].path == str(tmp_path / "test-mini-audios" / "u1.wav")
    assert sample.meta["category"] == "Reasoning"  # published as a list in 13 items
    assert sample.meta["sub_category"] == "Source"


@pytest.mark.parametrize(
    ("said", "label", "raw", "extracted"),
    [
        ("Dog", 1.0, 1.0, 1.0),
        ("A", 1.0, 0.0, 1.0),  # a bare letter has none of the answer's words
        ("(A) Dog", 1.0, 0.0, 1.0),  # the letter is a word of the wrong choice "A cat"
        ("B", 0.0, 0.0, 0.0),
        ("no idea", 0.0, 0.0, 0.0),
    ],
)
def test_both_forms_of_the_string_match(tmp_path, said, label, raw, extracted):
    found = values(mmau(tmp_path, MMAU), said)
    assert found == {
        "correct": label,
        "correct[string_match]": raw,
        "correct[string_match_extracted]": extracted,
    }


def test_the_string_match_does_not_depend_on_the_order_of_options(tmp_path):
    fixed = values(mmau(tmp_path, MMAU), "Dog")["correct[string_match]"]
    turned = mmau(tmp_path, MMAU, options="circular")
    (sample,) = turned.samples()
    asked = turned.requests(sample, Generation())
    scores = turned.score(sample, [Response("k", "u1", "Dog", variant=r.variant) for r in asked])
    assert [s.values["correct[string_match]"] for s in scores] == [fixed, fixed]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "dog"}, "none of its choices"),
        ({"choices": "Dog"}, "list of texts"),
        ({"choices": ["Dog", None]}, "list of texts"),
        ({"question": ""}, "'question'"),
        ({"id": None}, "'id'"),
    ],
)
def test_a_bad_item_is_named(tmp_path, change, message):
    good, bad = mmau(tmp_path, MMAU, {**MMAU, "id": "u2", **change}).samples()
    assert good.fault is None
    assert message in bad.fault
    assert "item 2" in bad.fault
    assert bad.id == ("u2" if "id" not in change else "item 2")


def test_files_that_are_no_question_files(tmp_path):
    task = mmau(tmp_path)
    with pytest.raises(DataError, match="holds no list of items"):
        list(task.samples())
    (tmp_path / "mmau.json").write_text("[{]")
    with pytest.raises(DataError, match="not UTF-8 JSON"):
        list(task.samples())
    (tmp_path / "mmau.json").write_bytes('["caf\u00e9"]'.encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8 JSON"):
        list(task.samples())
    (tmp_path / "mmau.json").unlink()
    assert "task.dataset" in task.missing(audio=False)[0]


def test_an_item_of_mmar(tmp_path):
    """Four published items end with an empty choice; it is left out and counted."""
    other = {**MMAR, "id": "video_0-00_0-30", "audio_path": "./audio/video_0-00_0-30.wav"}
    task = mmar(tmp_path, MMAR, other)
    first, second = task.samples()
    assert [c.text for c in first.choices] == ["Dog", "Cat"]
    assert task.report() == {"items_with_empty_choices": 2, "items_with_equal_choices": 0}
    assert first.cluster == second.cluster == "video"
    assert [s.id for s in mmar(tmp_path, MMAR, other, ids="index").samples()] == [
        "mmar_0",
        "mmar_1",
    ]
    with pytest.raises(ConfigError, match=r"task\.ids=url"):
        mmar(tmp_path, MMAR, ids="url")


def test_the_published_files(shared_data, tmp_path):
    shared = {"name": "x", "prompt": "{question}", "parser": extract, "audio_root": "audio"}
    task = Mmau(dataset=str(shared_data / "mmau" / "mmau-test-mini.json"), **shared)
    items = list(task.samples())
    assert len(items) == len({s.id for s in items}) == 1000
    assert task.report() == {"items_with_empty_choices": 0, "items_with_equal_choices": 27}
    assert {s.meta["category"] for s in items} == {"Reasoning", "Information Extraction"}
    assert len({s.meta["sub_category"] for s in items}) == 27
    # Giving the right choice with its letter is rejected by the official rule 33 times.
    rejected = [
        s
        for s in items
        if not string_match(
            f"({s.target}) {text(s)}", text(s), [choice.text for choice in s.choices]
        )
    ]
    assert len(rejected) == 33
    # Ours takes all of them, two letters of one text included, but for three answers that are the
    # letter of another option ("D" among the notes of a scale).
    misread = [(s.id[:4], said) for s in items for said in ways(s) if not right(task, s, said)]
    assert misread == [("2d86", "a"), ("b114", "D"), ("3430", "D")]
    task = Mmar(dataset=str(shared_data / "mmar" / "MMAR-meta.jsonl"), **shared)
    items = list(task.samples())
    assert len(items) == 1000
    assert task.report() == {"items_with_empty_choices": 4, "items_with_equal_choices": 0}
    assert len({s.cluster for s in items}) < 915
    assert len({s.meta["modality"] for s in items}) == 7
    assert all(right(task, s, said) for s in items for said in ways(s))


def ways(sample):
    return (sample.target, f"({sample.target}) {text(sample)}", text(sample))


def right(task, sample, said):
    (score,) = task.score(sample, [Response("k", sample.id, said)])
    return score.values["correct"] == 1.0


def text(sample):
    return next(c.text for c in sample.choices if c.label == sample.target)


@pytest.mark.parametrize(
    ("name", "file", "groups"),
    [
        ("mmau", "mmau/mmau-test-mini.json", ("task", "difficulty", "sub_category")),
        ("mmar", "mmar/MMAR-meta.jsonl", ("modality", "category", "language")),
    ],
)
def test_guessing_on_the_published_questions(bench, run_folders, shared_data, name, file, groups):
    words = (f"task={name}", f"task.dataset={shared_data / file}", "task.options=shuffled")
    bench(*words, "model=random", *QUIET, check=0)
    (folder,) = run_folders().values()
    metrics = json.loads((folder / "metrics.json").read_text())
    found = metrics["metrics"]
    assert found["n"] == 1000
    assert abs(found["accuracy"] - found["chance"]) < 0.05
    assert found["accuracy[string_match]"] < 0.05  # a bare letter is hardly ever accepted
    assert metrics["headline"][:2] == ["accuracy", "accuracy[string_match]"]
    analysis = json.loads((folder / "analysis.json").read_text())
    for group in groups:
        rows = analysis[f"by_{group}"]
        assert rows
        assert all("accuracy[string_match]" in row for row in rows)


def test_the_audio_that_is_not_there_is_asked_for(bench, shared_data, tmp_path):
    words = ("task=mmau", f"task.dataset={shared_data / 'mmau' / 'mmau-test-mini.json'}")
    done = bench(*words, f"task.audio_root={tmp_path / 'none'}", "model=signal", *QUIET, check=2)
    assert "task.audio_root" in done.stderr
    assert not bench.outputs.exists()
