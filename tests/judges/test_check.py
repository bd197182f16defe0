"""A judge against people: hand-computed numbers, every form that is read, and what is refused."""

import csv
import json

import orjson
import pytest

from lalm_bench.errors import DataError
from lalm_bench.judges.__main__ import main
from lalm_bench.judges.check import PANEL, check
from lalm_bench.judges.rated import read

RUBRIC = {
    "parser": {
        "_target_": "lalm_bench.judges.parsers.Labelled",
        "fields": {
            "Rating": {"levels": {"0": 0, "1": 1, "2": 2}},
            "orientation": {"levels": {"audio": 0, "both": 2, "good": 2}, "scale": "nominal"},
        },
    }
}


@pytest.fixture
def table(tmp_path):
    """`table(name, rows)` writes a CSV."""

    def write(name, rows):
        path = tmp_path / name
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def judged(tmp_path):
    """`judged(rows)`: a judged run's folder, as stage=judge leaves it."""

    def write(rows, rubric=RUBRIC):
        folder = tmp_path / "run" / "judge" / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows]
        (folder / "decisions.jsonl").write_bytes(b"".join(lines))
        state = {"config": {"judge": {"rubric": rubric}}, "judge": {"name": "mine"}}
        (folder / "run.json").write_bytes(orjson.dumps(state))
        return folder

    return write


def decision(name, text, target="a", variant="", **said):
    """A row; `said`: judge -> (rating, orientation code), or None where it did not judge."""
    row = {
        **{"id": name, "variant": variant, "cluster": name, "question": "Who?", "text": text},
        **{"options": {"a": "cat", "b": "dog"}, "target": target, "audio": ["x/y/z.wav"]},
    }
    for judge, values in said.items():
        rating, orientation = values or (None, None)
        row |= {f"Rating[{judge}]": rating, f"orientation[{judge}]": orientation}
        row[f"malformed[{judge}]"] = None if values is None else float(None in values)
    return row


def human(*ratings, names="1234"):
    return [{"id": n, "rating": r} for n, r in zip(names, ratings, strict=True)]


def found(report, judge, field="Rating"):
    (row,) = [r for r in report["comparisons"] if (r["judge"], r["field"]) == (judge, field)]
    return row


def test_numbers_by_hand(judged, table):
    folder = judged(
        [
            decision("1", "w", one=(0, 0), two=(0, 2)),
            decision("2", "w w", one=(2, 2), two=(1, None)),
            decision("3", "w w w", target="b", one=(2, 2), two=None),
            decision("4", "w w w w", target="b", one=(None, 2), two=(2, 2)),
            decision("5", "nobody rated this", one=(0, 0), two=(0, 0)),
        ]
    )
    leanings = ["audio", "Good", "", "audio"]
    people = zip(human(0, 1, 0, 2), leanings, strict=True)
    rows = [row | {"ORIENTATION": leaning} for row, leaning in people]
    report = check(read(folder), read(table("human.csv", rows)))
    assert (report["answers"], report["reference"], report["matched"]) == (5, 4, 4)
    one = found(report, "one")
    assert (one["n"], one["coverage"], one["malformed"]) == (3, 0.75, 1)
    assert one["accuracy"] == pytest.approx(1 / 3)
    assert one["difference"] == pytest.approx((0 + 1 + 2) / 3)  # it is lenient
    # (0, 2, 2) against (0, 1, 0): squares 5/3; variances 8/9 and 2/9; means apart by 1.
    assert one["kappa"] == pytest.approx(1 - (5 / 3) / (8 / 9 + 2 / 9 + 1))
    assert one["length_spearman"] == pytest.approx(1.0)  # the longer, the more lenient
    assert one["confusion"] == [
        {"reference": "0", "0": 1, "1": 0, "2": 1, "-": 0},
        {"reference": "1", "0": 0, "1": 0, "2": 1, "-": 0},
        {"reference": "2", "0": 0, "1": 0, "2": 0, "-": 1},
    ]
    assert [(r["words"], r["n"], r["difference"]) for r in one["by_length"]] == [
        ("1-2", 2, 0.5),
        ("3-3", 1, 2.0),
        ("4-4", 0, None),
    ]
    assert [(r["value"], r["n"], r["accuracy"]) for r in one["by_position"]] == [
        ("1", 2, 0.5),
        ("2", 1, 0.0),
    ]
    two = found(report, "two")
    assert (two["n"], two["malformed"], two["accuracy"]) == (3, 0, 1.0)
    panel = found(report, PANEL)
    # Means 0, 1.5, 2, 2 are read as 0, 1, 2, 2 (the lower of two), and are 0.5 and 2 above.
    assert panel["accuracy"] == 0.75
    assert panel["difference"] == pytest.approx((0 + 0.5 + 2 + 0) / 4)
    lean = found(report, "one", "orientation")
    assert (lean["n"], lean["accuracy"], lean["difference"]) == (3, pytest.approx(2 / 3), None)
    # Codes (0, 2, 2) against (0, 2, 0): by chance 1/3 * 2/3 + 2/3 * 1/3.
    assert lean["kappa"] == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    assert [row["reference"] for row in lean["confusion"]] == ["audio", "both"]


def test_answers_of_one_item_are_told_apart(judged, table):
    rows = [decision("1", "w", variant=f"instruction={k}", j=(k % 3, 0)) for k in (1, 2, 10)]
    folder = judged(rows)
    with pytest.raises(DataError, match="item '1' has 3 answers; say which one in a column"):
        check(read(folder), read(table("h.csv", human(1, names="1"))))
    said = [{"id": "1", "variant": f"instruction={k}", "rating": 1} for k in (10, 2, 1)]
    row = found(check(read(folder), read(table("h.csv", said))), "j")
    assert [(r["value"], r["difference"]) for r in row["by_variant"]] == [
        ("instruction=1", 0),
        ("instruction=2", 1),
        ("instruction=10", 0),
    ]


def test_several_people_count_as_their_mean(judged, table):
    folder = judged([decision("1", "w", j=(1, 0)), decision("2", "w", j=(2, 0))])
    rows = [
        {"id": "1", "rating[anna]": 0, "rating[ben]": 2},
        {"id": "2", "rating[anna]": 2, "rating[ben]": ""},
    ]
    report = check(read(folder), read(table("h.csv", rows)))
    assert report["raters"] == ["anna", "ben"]
    assert found(report, "j")["accuracy"] == 1.0


def test_two_tables_without_a_rubric(table):
    said = [{"id": i, "good": g, "tone": t} for i, g, t in [(1, 1, "x"), (2, 0, "y"), (3, 1, "y")]]
    right = [{"id": i, "good": g, "tone": t} for i, g, t in [(1, 1, "x"), (2, 1, "y"), (3, 1, "x")]]
    report = check(read(table("gpt.csv", said)), read(table("h.csv", right)))
    good = found(report, "gpt", "good")
    assert (good["accuracy"], good["difference"]) == (pytest.approx(2 / 3), pytest.approx(-1 / 3))
    tone = found(report, "gpt", "tone")
    assert tone["difference"] is None
    assert tone["kappa"] == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))


INSTRUCTION = "What animal? (a) cat (b) dog"


@pytest.fixture
def sakura(tmp_path):
    """`sakura(name, judgements)`: a result file of SAKURA's judge, one clip a judgement."""

    def write(name, judgements, response="(a) cat", **more):
        entries = {
            f"data/Animal/audio/{i}.wav": {
                **{"instruction": INSTRUCTION, "response": response, "label": " (b) dog"},
                **{"Explanation": "...", "Judgement": judgement},
            }
            for i, judgement in enumerate(judgements)
        }
        path = tmp_path / name
        path.write_text(json.dumps({"results": entries} if more.get("nested") else entries))
        return path

    return write


@pytest.mark.parametrize("nested", [False, True])
def test_sakuras_result_files(sakura, table, nested):
    path = sakura("gpt4o.json", ["Correct ", "incorrect", "No judgement"], nested=nested)
    rows = [
        {"id": "data/Animal/audio/0.wav", "correct": "yes"},
        {"id": "Animal/1.wav", "correct": 1},
        {"id": "data/Animal/audio/2.wav", "correct": "incorrect"},
    ]
    row = found(check(read(path), read(table("h.csv", rows))), "gpt4o", "correct")
    assert (row["n"], row["malformed"], row["accuracy"]) == (2, 1, 0.5)
    assert row["confusion"][0] == {"reference": "incorrect", "incorrect": 0, "correct": 0, "-": 1}


def test_a_judged_run_against_sakuras_published_verdicts(sakura, judged):
    """The same clip is asked in two hops; the question tells them apart."""
    rubric = {
        "parser": {
            "_target_": "lalm_bench.judges.parsers.Labelled",
            "fields": {"correct": {"levels": {"correct": 1, "incorrect": 0}, "scale": "binary"}},
        }
    }
    rows = [
        {
            **{"id": f"sakura_animal_{i}_{hop}", "variant": "", "cluster": f"Animal/{i}.wav"},
            **{"question": question, "options": {"a": "cat", "b": "dog"}, "target": "b"},
            **{"audio": [f"somewhere/data/Animal/audio/{i}.wav"], "text": "(a)  cat"},
            **{"correct[j]": float(i == 0), "malformed[j]": 0.0, "verdict[j]": "..."},
        }
        for i in range(2)
        for hop, question in (("single", "What animal?"), ("multi", "What does it eat?"))
    ]
    folder = judged(rows, rubric)
    report = check(read(folder), read(sakura("p.json", ["correct", "correct"])))
    assert (report["matched"], found(report, "j", "correct")["accuracy"]) == (2, 0.5)
    with pytest.raises(DataError, match="another answer was rated"):
        check(read(folder), read(sakura("q.json", ["correct"], response="(b) dog")))


def test_jascos_judged_table(table):
    cells = {
        1: "Rating: 2\nOrientation: Good",
        2: "Rating: 0\nOrientation: Audio-Oriented",
        3: "no idea",
        4: "",
    }
    rows = [
        {"id": 1, "prompt": f"p{k}", "allm_output": "w", "llama3_extract": cells[k]} for k in cells
    ]
    people = [
        {"id": 1, "prompt": f"p{k}", "rating": 2, "orientation": "Both"} for k in (1, 2, 3, 4)
    ]
    report = check(read(table("jasco.csv", rows)), read(table("h.csv", people)))
    row = found(report, "llama3_extract", "rating")
    assert (row["n"], row["malformed"], row["coverage"]) == (2, 1, 0.5)
    assert (row["accuracy"], row["difference"]) == (0.5, -1.0)
    assert found(report, "llama3_extract", "orientation")["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "9", "rating": 1}], "its first is '9', there '1'"),
        ([{"id": "1", "rating": 3}], "row 2: Rating '3' is none of 0, 1, 2"),
        ([{"id": "1", "rating": "nan"}], "Rating 'nan' is none of"),
        ([{"id": "1", "orientation": "2"}], "orientation '2' is none of audio, both, good"),
        ([{"id": "1", "score": 1}], "no column of .* is a field of the verdicts: .*score"),
        ([{"id": "1", "rating": ""}], "no number for Rating in any matched row"),
        ([{"id": "", "rating": 1}], "row 2: 'id' is empty"),
        (
            [{"id": "1", "rating": 1}, {"id": "1", "rating": 2}],
            "row 3 and .* row 2 rate one answer",
        ),
        ([{"id": "1", "rating": 1, "text": "v"}], "another answer was rated"),
        ([{"name": "1"}], "no column 'id'"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(judged, table, capsys, tmp_path, rows, message):
    folder, out = judged([decision("1", "w", j=(1, 0))]), tmp_path / "out.json"
    assert main(["check", str(folder), str(table("h.csv", rows)), "--json", str(out)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    with pytest.raises(DataError, match=message):
        raise DataError(lines[0])
    assert not out.exists()


def test_verdicts_that_are_none(judged, tmp_path):
    with pytest.raises(DataError, match="no judged run"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"a \.csv, or SAKURA's \.json"):
        read(tmp_path / "x.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "x.csv")
    (tmp_path / "bad.json").write_text('{"a": {"Judgement": "correct"}}')
    with pytest.raises(DataError, match="entry 'a': no 'instruction'"):
        read(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("[")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "bad.json")
    with pytest.raises(DataError, match="has no rows"):
        read(judged([]))


def test_a_judged_run_cannot_have_other_code_called(judged):
    rubric = {"parser": {"_target_": "lalm_bench.judges.parsers.Labelled", "fields": {}}}
    rubric["parser"]["fields"] = {"x": {"_target_": "os.getcwd"}}
    with pytest.raises(DataError, match=r"parser os\.getcwd is not this package's"):
        read(judged([decision("1", "w", j=(1, 0))], rubric))


def test_on_the_command_line(judged, table, capsys, tmp_path):
    assert main([]) == 0
    assert "check" in capsys.readouterr().out
    # A name that rich would read as markup.
    folder = judged([decision(str(i), "w " * i, **{"a[bold]": (i % 3, 0)}) for i in range(9)])
    rows = human(*[i % 2 for i in range(10)], names="0123456789")
    people = table("h.csv", [row | {"note": "?"} for row in rows])
    out, flat = tmp_path / "new" / "out.json", tmp_path / "out.csv"
    words = ["check", str(folder), str(people), "--json", str(out), "--csv", str(flat)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "a[bold]" in shown
    assert "without a judged answer: 1 (9)" in shown
    assert "no field of the verdicts: note" in shown
    stored = json.loads(out.read_text())["comparisons"][0]
    with open(flat, newline="") as file:
        (line,) = csv.DictReader(file)
    assert float(line["accuracy"]) == stored["accuracy"] == pytest.approx(4 / 9)
    assert main([*words[:3], "--json", str(people / "x.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
