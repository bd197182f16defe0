import csv

import pandas as pd
import pytest

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.tasks.sakura import Sakura, split_options
from lalm_bench.types import Choice, Generation

COLUMNS = ("file", "attribute_label", "single_instruction", "single_answer")
COLUMNS += ("multi_instruction", "multi_answer")


def sakura(root, **more):
    return Sakura(
        name="sakura", prompt="{question}\n{options}", parser=None, root=str(root), **more
    )


def write(root, rows, columns=COLUMNS, track="Animal"):
    folder = root / "data" / track
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return root


ROW = (
    "b.wav",
    "dog",
    "Which? (a) cat (b) dog",
    " (b) dog",
    "Does it purr? (a) yes (b) no",
    "(b) no",
)


def test_items_of_both_hops(tmp_path):
    task = sakura(write(tmp_path, [ROW, ("a.wav", *ROW[1:])]), track="animal")
    samples = list(task.samples())
    assert [s.id for s in samples] == [
        f"sakura_animal_{stem}_{hop}" for stem in "ab" for hop in ("single", "multi")
    ]
    first = samples[2]
    assert first.question == "Which?"
    assert first.choices == (Choice("a", "cat"), Choice("b", "dog"))
    assert first.target == "b"
    assert first.audio[0].path.endswith("audio/b.wav")
    assert samples[2].cluster == samples[3].cluster


def test_hop_and_track_are_chosen(tmp_path):
    write(tmp_path, [ROW])
    write(tmp_path, [ROW], track="Gender")
    assert len(list(sakura(tmp_path, track="gender", hop="multi").samples())) == 1
    with pytest.raises(ConfigError, match=r"task\.hop=triple"):
        sakura(tmp_path, hop="triple")


def test_missing_tables_are_named(tmp_path):
    (wanted,) = sakura(tmp_path).missing(audio=True)
    assert "metadata.csv" in wanted
    assert "task.root" in wanted


@pytest.mark.parametrize(
    "row",
    [
        ("b.wav", "dog", "Which? (a) cat (b) dog", "(c) dog", *ROW[4:]),
        ("b.wav", "dog", "Which? (a) cat (b) dog", "(a) dog", *ROW[4:]),
        ("b.wav", "dog", "Which?", "(a) dog", *ROW[4:]),
        ("", *ROW[1:]),
    ],
)
def test_an_answer_that_is_no_option_is_refused(tmp_path, row):
    with pytest.raises(DataError, match="row 2"):
        list(sakura(write(tmp_path, [row]), track="animal").samples())


def test_a_missing_column_is_named(tmp_path):
    write(tmp_path, [ROW[:3]], COLUMNS[:3])
    with pytest.raises(DataError, match="single_answer"):
        list(sakura(tmp_path, track="animal").samples())


def test_option_texts_keep_brackets_and_commas():
    question, choices = split_options("Pick one. (a) red (dark), or (b) a, b (c) x")
    assert question == "Pick one."
    assert [c.text for c in choices] == ["red (dark), or", "a, b", "x"]


def test_multi_given_single():
    frame = pd.DataFrame(
        {
            "hop": ["single", "multi"] * 3,
            "cluster": ["x", "x", "y", "y", "z", "z"],
            "correct": [1.0, 1.0, 1.0, 0.0, 0.0, 1.0],
            "target": "a",
            "target_text": "dog",
            "label": "a",
            "n_options": 4,
            "stage": "exact",
            "conflict": False,
        }
    )
    task = sakura("nowhere")
    values = task.metrics(frame).values
    assert values["accuracy_single"] == pytest.approx(2 / 3)
    assert values["accuracy_multi_given_single_right"] == 0.5
    assert values["accuracy_multi_given_single_wrong"] == 1.0
    assert (values["n_single_right"], values["n_single_wrong"]) == (2, 1)


def test_real_subset(shared_data):
    task = sakura(shared_data / "sakura")
    samples = list(task.samples())
    assert len(samples) == 320
    assert len({s.cluster for s in samples}) == 160
    assert {len(s.choices) for s in samples if s.meta["track"] == "gender"} == {2}
    assert {len(s.choices) for s in samples if s.meta["track"] != "gender"} == {4}
    request = task.requests(samples[0], Generation())[0]
    assert len(request.clips()) == 1
