import csv
import json
import shutil

import pandas as pd
import pytest

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.tasks.clotho import Clotho
from lalm_bench.types import Generation, Response

HEADER = ("file_name", *[f"caption_{i}" for i in range(1, 6)])
ROWS = [
    (
        "Dog, rain (roof).wav",
        "A dog barks while rain falls on a roof.",
        "Rain hits a roof and a dog barks.",
        "A dog is barking in heavy rain.",
        "Heavy rain falls as a dog barks.",
        "A dog barks twice, rain is falling.",
    ),
    (
        "birds #2.wav",
        "Birds chirp in a forest.",
        "Several birds are singing.",
        "Birds sing near a stream.",
        "Many birds chirp loudly.",
        "Birds are chirping and singing.",
    ),
    (
        "café.wav",
        "People talk in a café.",
        "A crowd chats over cups.",
        "Cups clink while people talk.",
        "People are talking indoors.",
        "A busy café with talking people.",
    ),
    ("train.wav", "A train passes by.", "A train rolls past on rails.", "", "", ""),
]


def write(path, rows=ROWS, header=HEADER, encoding="utf-8", **dialect):
    with open(path, "w", newline="", encoding=encoding) as file:
        csv.writer(file, **dialect).writerows([header, *rows])
    return path


def clotho(table, **more):
    more = {"prompt": "Describe it.", "audio_root": str(table.parent / "evaluation"), **more}
    return Clotho(name="clotho", annotations=str(table), **more)


def decide(task, answers):
    """The table that the pipeline would make of the answers."""
    rows = []
    for sample in task.samples():
        if sample.id in answers:
            (score,) = task.score(sample, [Response("k", sample.id, answers[sample.id])])
            rows.append(
                {
                    "id": sample.id,
                    "label": score.label,
                    "target": sample.target,
                    "cluster": sample.cluster,
                    **score.values,
                    **sample.meta,
                }
            )
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("encoding", "dialect"),
    [
        ("utf-8", {}),
        ("utf-8-sig", {"lineterminator": "\r\n"}),
        ("latin-1", {"lineterminator": "\n"}),
        ("latin-1", {"delimiter": ";"}),
    ],
)
def test_a_table_is_read_however_it_was_saved(tmp_path, encoding, dialect):
    samples = clotho(write(tmp_path / "c.csv", encoding=encoding, **dialect)).samples()
    assert [s.id for s in samples] == [row[0] for row in ROWS]
    assert samples[2].target[0] == "People talk in a café."
    assert len(samples[3].target) == 2
    assert samples[0].audio[0].path == str(tmp_path / "evaluation" / "Dog, rain (roof).wav")
    assert all(not s.choices for s in samples)


def test_the_clip_comes_before_the_words(tmp_path):
    task = clotho(write(tmp_path / "c.csv"))
    (request,) = task.requests(task.samples()[0], Generation())
    audio, text = request.messages[0].parts
    assert audio.source.clip.path.endswith("(roof).wav")
    assert text.text == "Describe it."


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        ([("a.wav", "", "")], HEADER[:3], "line 2 (a.wav): no caption"),
        ([("", "x", "y")], HEADER[:3], "line 2: no file name"),
        ([("a.wav", "x", "y", "z")], HEADER[:3], "line 2 (a.wav): not as many cells"),
        ([("a.wav", "x")], HEADER[:3], "line 2 (a.wav): not as many cells"),
    ],
)
def test_a_bad_row_says_its_place(tmp_path, rows, header, said):
    (sample,) = clotho(write(tmp_path / "c.csv", rows, header)).samples()
    assert said in sample.fault


def test_a_table_without_captions_is_refused(tmp_path):
    with pytest.raises(DataError, match="file_name and caption_1"):
        clotho(write(tmp_path / "c.csv", [("a", "x")], ("file_name", "keywords"))).samples()


def test_an_unnamed_column_is_no_fault(tmp_path):
    rows = [("a.wav", "x", "y", "")]
    (sample,) = clotho(write(tmp_path / "c.csv", rows, (*HEADER[:3], ""))).samples()
    assert sample.fault is None


def test_what_is_not_there_is_named(tmp_path):
    task = clotho(tmp_path / "c.csv", sbert={"root": "nowhere"}, fense={"root": str(tmp_path)})
    text = "; ".join(task.missing(audio=True))
    for word in ("c.csv", "task.root", "task.audio_root", "task.sbert.root: nowhere", "echecker"):
        assert word in text
    with pytest.raises(ConfigError, match="prompt"):
        clotho(tmp_path / "c.csv", prompt=" ")
    assert "task.groups" in clotho(write(tmp_path / "c.csv"), groups=["license"]).samples()[0].fault


def test_an_answer_without_words_is_invalid_and_counts_as_zero(tmp_path):
    task = clotho(write(tmp_path / "c.csv"))
    answers = {row[0]: row[1] for row in ROWS} | {"train.wav": " ... "}
    table = decide(task, answers)
    assert table["label"].isna().tolist() == [False, False, False, True]
    metrics = task.metrics(table)
    assert metrics.values["n"] == 4
    assert metrics.values["invalid_rate"] == 0.25
    assert metrics.values["cider_d"] == pytest.approx(table["cider_d"].mean())
    assert table["cider_d"].iloc[3] == 0


def test_a_limit_does_not_move_the_weights(tmp_path):
    """The weights come from the whole split; what the items alone would give stands beside."""
    task = clotho(write(tmp_path / "c.csv"))
    answers = {row[0]: row[2] for row in ROWS}
    whole = decide(task, answers)
    some = decide(task, {k: answers[k] for k in list(answers)[:2]})
    assert some["cider_d"].tolist() == whole["cider_d"].tolist()[:2]
    values = task.metrics(some).values
    assert values["cider_d_own_idf"] != pytest.approx(values["cider_d"])
    assert "cider_d_own_idf" not in task.metrics(whole).values


def test_people_agree_and_other_clips_do_not(tmp_path):
    task = clotho(write(tmp_path / "c.csv"))
    values = task.metrics(decide(task, {row[0]: "a sound" for row in ROWS})).values
    assert values["cider_d_human"] > 0.5
    assert values["cider_d_other_clip"] < values["cider_d_human"] / 2
    assert values["distinct_captions"] == 0.25


def test_no_answer_at_all_has_no_score(tmp_path):
    metrics = clotho(write(tmp_path / "c.csv")).metrics(pd.DataFrame())
    assert metrics.values["n"] == 0
    assert all(metrics.values[name] is None for name in metrics.headline)


@pytest.fixture
def data(tmp_path, wav):
    """Clotho's layout with computed clips, and answers of somebody to it."""
    root = tmp_path / "clotho"
    root.mkdir()
    header, rows = (
        (*HEADER, "license"),
        [(*row, "CC0" if i else "CC-BY") for i, row in enumerate(ROWS)],
    )
    write(root / "clotho_captions_evaluation.csv", rows, header)
    for i, row in enumerate(ROWS):
        made = wav(f"made/{i}.wav", pitch=200.0 + 90 * i)
        (root / "evaluation").mkdir(exist_ok=True)
        shutil.copy(made, root / "evaluation" / row[0])
    answers = tmp_path / "answers.csv"
    write(answers, [(row[0], "", row[1]) for row in ROWS], ("id", "variant", "output"))
    return root, answers


def test_a_whole_run(bench, run_folders, data):
    root, answers = data
    words = ("task=clotho", f"task.root={root}", "task.groups=[license]", "figures=true")
    model = ("model=predictions", f"model.path={answers}")
    done = bench(*words, *model, check=0)
    (folder,) = run_folders().values()
    stored = json.loads((folder / "metrics.json").read_text())
    assert stored["headline"][0] == "cider_d"
    values = stored["metrics"]
    assert values["n"] == 4
    assert values["n_errors"] == 0
    assert values["cider_d"] > values["cider_d_human"] > values["cider_d_other_clip"]
    assert values["fense"] is None
    analysis = json.loads((folder / "analysis.json").read_text())
    assert "task.fense.root" in analysis["not_computed"]["fense"]
    for text in (done.stdout, (folder / "results_table.md").read_text()):
        assert "cider_d, 95 %" in text
        assert "accuracy" not in text
        assert "weights not given" in text
        assert "CC-BY" in text
    rows = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    assert next(row["target"] for row in rows) == list(ROWS[0][1:])
    assert sum(row["cider_d"] for row in rows) / 4 == pytest.approx(values["cider_d"])
    drawn = {file.name for file in (folder / "figures").glob("*.png")}
    assert {"cider_d_by_license.png", "distribution_cider_d.png"} <= drawn
    assert not any("accuracy" in name or "confusion" in name for name in drawn)
    (line,) = csv.DictReader((bench.outputs / "runs.csv").open())
    assert line["metric"] == "cider_d"
    assert float(line["value"]) == pytest.approx(values["cider_d"])
    assert line["accuracy"] == ""
    again = bench(*words, *model, check=0)
    assert "nothing asked" in again.stdout
    assert "cider_d, 95 %" in again.stdout


def test_weights_that_come_later_score_again_and_ask_nothing(bench, run_folders, data, tmp_path):
    from tests.metrics.captions.test_networks import sentence_encoder

    root, answers = data
    words = ("task=clotho", f"task.root={root}", "tracking=none", "figures=false")
    model = ("model=predictions", f"model.path={answers}")
    bench(*words, *model, check=0)
    sentence_encoder(tmp_path / "tiny-bert")
    done = bench(*words, *model, f"task.sbert.root={tmp_path / 'tiny-bert'}", check=0)
    assert "nothing asked" not in done.stdout
    assert "sbert_sim[tiny-bert]" in done.stdout
    (folder,) = run_folders().values()
    assert len((folder / "responses.jsonl").read_text().splitlines()) == 4
    stored = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert -1 <= stored["sbert_sim[tiny-bert]"] <= 1
    items = json.loads((folder / "analysis.json").read_text())["items"]
    assert set(items["sbert_sim[tiny-bert]"]) == {row[0] for row in ROWS}


def test_weights_that_are_not_fense_stop_the_run(bench, data, tmp_path):
    root, answers = data
    words = ("task=clotho", f"task.root={root}", f"task.fense.root={tmp_path}", "tracking=none")
    done = bench(*words, "model=predictions", f"model.path={answers}", check=2)
    assert "task.fense.root" in done.stderr
    assert not bench.outputs.exists()
