import csv
import json

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
def test_an_answer_that_is_no_option_is_a_fault(tmp_path, row):
    first, _ = sakura(write(tmp_path, [row]), track="animal").samples()
    assert "row 2" in first.fault


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
            "id": list("abcdef"),
            "track": ["animal"] * 4 + ["gender"] * 2,
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
    metrics = task.metrics(frame)
    values = metrics.values
    assert metrics.headline[:2] == ("accuracy", "accuracy_single")
    assert values["accuracy_single"] == pytest.approx(2 / 3)
    assert values["accuracy_single_track_mean"] == pytest.approx(1 / 2)
    tracks = {(r["track"], r["hop"]): r["accuracy"] for r in metrics.analysis["by_track_and_hop"]}
    assert tracks[("animal", "multi")] == 0.5
    assert tracks[("gender", "single")] == 0.0
    assert values["accuracy_multi_given_single_right"] == 0.5
    assert values["accuracy_multi_given_single_wrong"] == 1.0
    assert (values["n_single_right"], values["n_single_wrong"]) == (2, 1)


def test_a_single_hop_counts_when_it_is_right_in_every_order():
    rows = [("s", "single", 1.0), ("s", "single", 0.0), ("m", "multi", 1.0), ("m", "multi", 1.0)]
    frame = pd.DataFrame(rows, columns=["id", "hop", "correct"]).assign(
        track="animal",
        cluster="x",
        target="a",
        target_text="dog",
        label="a",
        n_options=2,
        stage="exact",
        conflict=False,
    )
    values = sakura("nowhere").metrics(frame).values
    assert values["accuracy_single"] == 0.5
    assert (values["n_single_right"], values["n_single_wrong"]) == (0, 1)
    assert values["accuracy_multi_given_single_wrong"] == 1.0


def test_ids_by_index_count_the_sorted_clips(tmp_path):
    """As the audio faithfulness study names them: sakura_animal_<n>_single."""
    task = sakura(write(tmp_path, [ROW, ("a.wav", *ROW[1:])]), track="animal", ids="index")
    found = {s.id: s.audio[0].path[-5:] for s in task.samples()}
    assert found["sakura_animal_0_single"] == "a.wav"
    assert found["sakura_animal_1_multi"] == "b.wav"
    with pytest.raises(ConfigError, match=r"task\.ids=number"):
        sakura(tmp_path, ids="number")


def test_published_answers_are_scored_by_index(bench, run_folders, shared_data, tmp_path):
    """A result file of the audio faithfulness study: ids by index, text in `raw_model_outputs`."""
    words = ("task=sakura", f"task.root={shared_data / 'sakura'}", "task.ids=index")
    task = sakura(shared_data / "sakura", track="gender", ids="index")
    lines = [
        {"id": s.id, "true_letter": s.target.upper(), "raw_model_outputs": [f"({s.target})"]}
        for s in task.samples()
    ]
    path = tmp_path / "baseline.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    more = ("task.track=gender", "model=predictions", f"model.path={path}", "tracking=none")
    bench(*words, *more, "figures=false", check=0)
    (folder,) = run_folders().values()
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert (values["n"], values["accuracy"]) == (80, 1.0)


def test_a_table_in_another_encoding_is_refused(tmp_path):
    write(tmp_path, [ROW])
    table = tmp_path / "data" / "Animal" / "metadata.csv"
    table.write_bytes(table.read_bytes() + "b\u00e9.wav,x,x,x,x,x\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"metadata\.csv: not UTF-8"):
        list(sakura(tmp_path, track="animal").samples())


def test_a_byte_order_mark_and_windows_lines_change_nothing(tmp_path):
    write(tmp_path, [ROW])
    table = tmp_path / "data" / "Animal" / "metadata.csv"
    before = list(sakura(tmp_path, track="animal").samples())
    content = table.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    table.write_bytes(b"\xef\xbb\xbf" + content)
    assert list(sakura(tmp_path, track="animal").samples()) == before


def test_the_default_prompt_is_the_published_instruction(shared_data):
    """Splitting the options off and rendering them again gives every instruction back."""
    root = shared_data / "sakura"
    task = Sakura(name="s", prompt="{question} {choices}", parser=None, root=str(root))
    asked = {
        s.id: task.requests(s, Generation())[0].messages[0].parts[-1].text for s in task.samples()
    }
    for track in ("Animal", "Emotion", "Gender", "Language"):
        with open(root / "data" / track / "metadata.csv", newline="") as file:
            for row in csv.DictReader(file):
                name = f"sakura_{track.lower()}_{row['file'].removesuffix('.wav')}"
                for hop in ("single", "multi"):
                    assert asked[f"{name}_{hop}"] == row[f"{hop}_instruction"]


def test_real_subset(shared_data):
    task = sakura(shared_data / "sakura")
    samples = list(task.samples())
    assert len(samples) == 320
    assert len({s.cluster for s in samples}) == 160
    assert {len(s.choices) for s in samples if s.meta["track"] == "gender"} == {2}
    assert {len(s.choices) for s in samples if s.meta["track"] != "gender"} == {4}
    request = task.requests(samples[0], Generation())[0]
    assert len(request.clips()) == 1
