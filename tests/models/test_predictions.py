"""Answers made elsewhere: the forms of files, and what a run makes of them."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lalm_bench.errors import BenchError, ConfigError, DataError
from lalm_bench.identity import Sealer
from lalm_bench.models import prediction_files
from lalm_bench.models.predictions import Predictions
from lalm_bench.types import Message, Request, Text
from tests.test_run import only, record, rows

NOTHING_NAMED = dict.fromkeys(("id", "variant", "prompt", "output"))


def write(path, table):
    """A file of the form that its ending says, from a list of rows."""
    if path.suffix in (".csv", ".tsv"):
        with open(path, "w", newline="", encoding="utf-8") as file:
            separator = "," if path.suffix == ".csv" else "\t"
            writer = csv.DictWriter(file, list(table[0]), delimiter=separator)
            writer.writeheader()
            writer.writerows(table)
    elif path.suffix == ".json":
        path.write_text(json.dumps(table))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table))
    return path


def request(item="a", variant="", text="What?", question=""):
    messages = (Message("user", (Text(text),)),)
    return Request(item, messages, question=question, variant=variant, key="00")


def answers(path, *requests, **settings):
    return list(Predictions(path=str(path), **settings).answer(requests))


def load(path, **named):
    return prediction_files.load(path, NOTHING_NAMED | named)


JASCO = (  # the published header
    *("id", "audio", "n_frames", "audio_sound", "spoken_text", "prompt", "with_speech"),
    *("audio_only_target", "speech_only_target", "target_keywords", "tgt_text", "allm_output"),
)
FAITHFUL = {"true_answer": "(a) x", "true_letter": "A", "predicted_letters": [None]}


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json"])
def test_the_plain_form_in_every_kind_of_file(tmp_path, ending):
    table = [
        {"id": "a", "variant": "one", "output": "first"},
        {"id": "a", "variant": "two", "output": 'second, with\nbreaks and "quotes"'},
        {"id": "b", "variant": "", "output": "third"},
    ]
    asked = [request("b"), request("a", "two"), request("a", "one")]
    given = answers(write(tmp_path / f"x{ending}", table), *asked)
    assert [g.text for g in given] == [table[2]["output"], table[1]["output"], "first"]
    assert [(g.sample_id, g.variant, g.finish) for g in given] == [
        ("b", "", "stop"),
        ("a", "two", "stop"),
        ("a", "one", "stop"),
    ]


def test_jasco_tells_answers_apart_by_the_prompt(tmp_path):
    """One prompt is the end of another; the request may carry it as its text or its question."""
    prompts = ["What are they doing?", "What is the sound? What are they doing?"]
    table = [
        dict.fromkeys(JASCO, "-") | {"id": n, "prompt": p, "allm_output": f"{n}: {p}"}
        for n in (1, 2)
        for p in prompts
    ]
    file = write(tmp_path / "example.csv", table)
    asked = [request(str(n), f"v{k}", text=p) for n in (2, 1) for k, p in enumerate(prompts)]
    given = answers(file, *asked)
    assert [g.text for g in given] == [f"{n}: {p}" for n in (2, 1) for p in prompts]
    (by_question,) = answers(
        file, request("item_1", "x", "Listen. " + prompts[0], prompts[0]), ids="item_{id}"
    )
    assert by_question.text == f"1: {prompts[0]}"
    (other,) = answers(file, request("1", text="doing?"))
    assert other.finish == "error"


def test_faithfulness_results_and_their_crashes(tmp_path):
    table = [
        FAITHFUL | {"id": "a", "raw_model_outputs": ["it barks. (A)"], "reasoning": ["it barks."]},
        FAITHFUL | {"id": "b", "raw_model_outputs": ["CRASH: out of memory"], "reasoning": [""]},
        FAITHFUL | {"id": "c", "raw_model_outputs": [None], "reasoning": [""]},
    ]
    given = answers(write(tmp_path / "b.jsonl", table), *map(request, "abc"))
    assert [(g.text, g.finish) for g in given] == [
        ("it barks. (A)", "stop"),
        ("", "error"),
        ("", "error"),
    ]
    conditioned = [{"id": "a", "original_prediction": "B", "raw_conditioned_output": "A"}]
    assert answers(write(tmp_path / "c.jsonl", conditioned), request())[0].text == "A"


def test_a_repeated_run_is_chosen(tmp_path):
    file = write(tmp_path / "b.jsonl", [{"id": "a", "raw_model_outputs": ["x", "y"]}])
    assert [answers(file, request(), run=n)[0].text for n in (0, 1)] == ["x", "y"]
    with pytest.raises(DataError, match=r"b.jsonl row 1: 2 runs, so model.run=2"):
        answers(file, request(), run=2)


@pytest.mark.parametrize("column", ["model_output", "answer_prediction"])
def test_published_prediction_columns(tmp_path, column):
    """The reference answer stands beside the prediction and must never be taken for it."""
    table = [{"id": "a", "answer": "right", column: "wrong"}]
    assert answers(write(tmp_path / "p.json", table), request())[0].text == "wrong"
    with pytest.raises(DataError, match="no known form"):
        load(write(tmp_path / "g.json", [{"id": "a", "answer": "right"}]))


def test_columns_can_be_named(tmp_path):
    table = [{"uid": "a", "hop": "single", "said": "cat", "answer": "dog"}]
    file = write(tmp_path / "p.csv", table)
    named = {"id": "uid", "variant": "hop", "output": "said"}
    assert answers(file, request("a", "single"), columns=named)[0].text == "cat"
    with pytest.raises(DataError, match=r"no column sayd .*answer, hop, said, uid"):
        load(file, **named | {"output": "sayd"})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", "who,what\na,b\n", ["what, who", "JASCO", "allm_output", "model.columns"]),
        ("x.csv", "id,output,model_output\na,b,c\n", ["several forms", "(id, variant, output)"]),
        ("x.csv", "id,output\na,A\nb,B,C\n", ["row 3", "more cells"]),
        ("x.csv", 'id,output\na,"A\n', ["cannot be read"]),
        ("x.csv", "id,output\n", ["no rows"]),
        ("x.csv", "", ["no rows"]),
        ("x.csv", "id,output\n,A\n", ["row 2", "no id"]),
        ("x.csv", b"id,output\na,\xff\xfe\n", ["cannot be read"]),
        ("x.csv", "id,output\na,A\nb,B\na,C\n", ["'a'", "rows 2 and 4", "keep one"]),
        ("x.jsonl", '{"id": "a", "output": "A"}\n{"id":', ["row 2", "not JSON"]),
        ("x.jsonl", "[1]\n", ["row 1", "not an object"]),
        ("x.jsonl", '{"id": "a", "output": {"x": 1}}\n', ["row 1", "is no text"]),
        ("x.json", '{"id": "a"}', ["list of objects"]),
        ("x.json", "[", ["cannot be read"]),
        ("x.xlsx", "PK", [".xlsx must end in .csv"]),
    ],
)
def test_a_bad_file_gets_one_line(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BenchError) as raised:
        load(path)
    for word in (name, *words):
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [{"columns": {"out": "x"}}, {"ids": "item"}, {"run": -1}, {"run": True}, {"empty": "no"}],
)
def test_a_bad_setting_is_named(settings):
    with pytest.raises(ConfigError, match=f"model.{next(iter(settings))}"):
        Predictions(path="x.csv", **settings)


def test_null_is_missing_and_empty_is_an_answer(tmp_path, capsys):
    content = "id,output\na,\nb,null\nc,NaN\nd\ne,none\nf,x\n"
    (tmp_path / "x.csv").write_text("\ufeff" + content)
    given = answers(tmp_path / "x.csv", *map(request, "abcdef"))
    assert [g.finish for g in given] == ["stop", "error", "error", "error", "stop", "stop"]
    assert given[4].text == "none"
    assert "1 empty outputs count as invalid" in capsys.readouterr().err
    strict = answers(tmp_path / "x.csv", request("a"), empty="missing")
    assert strict[0].finish == "error"
    table = [{"id": "a", "output": None}, {"id": "b", "output": float("nan")}]
    table += [{"id": "c", "output": "null"}, {"id": "d", "output": 3}]
    given = answers(write(tmp_path / "x.jsonl", table), *map(request, "abcd"))
    assert [(g.finish, g.text) for g in given] == [
        *[("error", "")] * 2,
        ("stop", "null"),
        ("stop", "3"),
    ]


def test_a_template_that_was_not_filled_in_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("id,variant,output\na,,\nb,,\n")
    with pytest.raises(DataError, match="every output is empty"):
        Predictions(path=str(tmp_path / "x.csv")).fetch()


def test_the_report_names_what_does_not_fit(tmp_path, capsys):
    table = [{"id": i, "output": "A"} for i in ["a", "b", "b", "x1", "x2", "x3", "x4"]]
    model = Predictions(path=str(write(tmp_path / "x.csv", table)))
    asked = [request(i, v) for i, v in [("a", ""), ("b", ""), ("c", "one"), ("d", "")]]
    given = list(model.answer(asked))
    assert [g.finish for g in given] == ["stop", "stop", "error", "error"]
    report = model.report()
    assert (report["rows"], report["equal_duplicates"]) == (7, 1)
    assert (report["missing"], report["missing_first"]) == (2, ["c/one", "d"])
    assert (report["extra"], report["extra_first"]) == (4, ["x1", "x2", "x3"])
    said = capsys.readouterr().err
    assert "2 of the 4 requests have no answer in it: c/one, d" in said
    assert said.count("\n") == 1
    list(Predictions(path=model.path).answer([request("item_a")]))
    assert "it has 'a' and the like, see model.ids" in capsys.readouterr().err


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.tuples(st.text('ab,"\n', min_size=1, max_size=3), st.text("xy", max_size=2)),
        st.text(st.characters(exclude_categories=["Cs"])).filter(
            lambda t: t.strip().lower() not in ("nan", "null")
        ),
        min_size=1,
    ).filter(lambda d: any(d.values()))
)
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_any_text_comes_back_as_it_was(tmp_path, ending, content):
    table = [{"id": i, "variant": v, "output": o} for (i, v), o in content.items()]
    file = write(tmp_path / f"any{ending}", table)
    given = answers(file, *(request(i, v) for i, v in content))
    assert [g.text for g in given] == list(content.values())


def test_keys_hold_the_item_and_the_content_of_the_file(tmp_path):
    """Equal words do not make equal requests, nor does an equal path make equal answers."""
    file = write(tmp_path / "x.csv", [{"id": "a", "output": "A"}])

    def keys(**settings):
        model = Predictions(path=str(file), **settings)
        sealer = Sealer(model.identity(), {}, model.rate, model.stochastic, 7)
        asked = [request("a"), request("b"), request("a", "two")]
        return {sealer.seal(r).key for r in asked}

    first = keys()
    assert len(first) == 3
    assert keys() == first
    assert not first & keys(columns={"output": "output", "id": "id"})
    write(file, [{"id": "a", "output": "B"}])
    assert not first & keys()


def test_identity_does_not_know_where_the_file_lies(tmp_path):
    here = write(tmp_path / "x.csv", [{"id": "a", "output": "A"}])
    there = Path(tmp_path, "y.csv")
    there.write_bytes(here.read_bytes())
    assert Predictions(path=str(here)).identity() == Predictions(path=str(there)).identity()


# ------------------------------------------------------------------ whole runs


@pytest.fixture
def twins(tmp_path, wav, bench):
    """Three items with one clip and one question; `run(table, ...)` imports answers for them."""
    wav("audio/0.wav")
    lines = [record(f"item{n}", "0.wav") for n in range(3)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines) + "\n")

    def run(table, *more, check=0):
        if table is not None:
            write(tmp_path / "answers.csv", table)
        return bench(
            *("task=mcq", f"task.dataset={tmp_path / 'd.jsonl'}", "model=predictions"),
            *(f"task.audio_root={tmp_path / 'audio'}", "model.path=answers.csv"),
            *("tracking=none", "figures=false", *more),
            check=check,
        )

    return run


def table(**outputs):
    return [{"id": i, "output": o} for i, o in outputs.items()]


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_items_alike_keep_their_own_answers(twins, run_folders):
    twins(table(item0="A", item1="C", item2=""))
    folder = only(run_folders())
    assert [(d["text"], d["label"]) for d in rows(folder / "decisions.jsonl")] == [
        ("A", "A"),
        ("C", "C"),
        ("", None),
    ]
    values = metrics(folder)["metrics"]
    assert (values["n"], values["accuracy"], values["n_errors"]) == (3, pytest.approx(1 / 3), 0)
    assert values["invalid_rate"] == pytest.approx(1 / 3)


def test_a_missing_row_makes_the_run_incomplete_until_it_is_there(twins, run_folders):
    done = twins(table(item0="A", elsewhere="C"), check=1)
    assert "2 of the 3 requests have no answer in it: item1, item2" in done.stderr
    folder = only(run_folders())
    assert json.loads((folder / "run.json").read_text())["status"] == "incomplete"
    found = metrics(folder)
    assert (found["metrics"]["n"], found["metrics"]["n_errors"]) == (1, 2)
    assert found["timing"]["extra_first"] == ["elsewhere"]
    reasons = [r["error"] for r in rows(folder / "responses.jsonl") if r["finish"] == "error"]
    assert reasons == [f"item{n}: answers.csv: no row for it" for n in (1, 2)]

    twins(table(item0="A", item1="A", item2="C"))
    assert only(run_folders()) == folder
    values = metrics(folder)["metrics"]
    assert (values["n"], values["accuracy"]) == (3, pytest.approx(2 / 3))
    assert "already finished" in twins(None).stdout
    twins(table(item0="C", item1="C", item2="C"))
    assert metrics(folder)["metrics"]["accuracy"] == 0.0


def test_contradicting_rows_are_refused_before_anything_is_written(twins, bench):
    contradiction = [*table(item0="A", item1="A", item2="C"), {"id": "item1", "output": "C"}]
    done = twins(contradiction, check=2)
    assert done.stderr.count("\n") == 1
    assert "'item1' has two different outputs, in rows 3 and 5" in done.stderr
    assert not bench.outputs.exists()


def test_no_file_no_run(twins, bench):
    done = twins(None, check=2)
    assert "model.path=answers.csv is not there" in done.stderr
    assert not bench.outputs.exists()


def test_without_recordings(twins, tmp_path):
    (tmp_path / "audio" / "0.wav").unlink()
    answers = table(item0="A", item1="C", item2="C")
    assert "0.wav" in twins(answers, check=2).stderr
    twins(answers, "model.rate=null")
