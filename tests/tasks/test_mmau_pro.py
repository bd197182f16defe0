"""MMAU-Pro on a small table of the layout its published evaluator reads."""

import json

import pytest

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.metrics.mmau_pro import summarise
from lalm_bench.parsing.strict import extract
from lalm_bench.tasks.mmau_pro import MmauPro
from lalm_bench.types import Generation, Response
from tests.metrics.captions.test_networks import sentence_encoder

QUIET = ("tracking=none", "figures=false")
ARGUMENTS = ("keywords", "keyword", "forbidden_words", "N", "N1", "N2")
ARGUMENTS += ("postscript_marker", "section_splitter", "start_phrase", "end_phrase")


def row(name, category="sound", **more):
    base = {
        "id": name,
        "category": category,
        "question": "What barks?",
        "answer": "a dog",
        "choices": ["a dog", "a cat", "hail"],
        "task_identifier": None,
        "kwargs": dict.fromkeys(ARGUMENTS),
        "audio_path": [f"data/{name}.wav"],
        "length_type": "short",
    }
    return base | more


def instruction(name, rule, **arguments):
    kwargs = dict.fromkeys(ARGUMENTS) | arguments
    return row(
        name,
        "instruction following",
        choices=None,
        answer=None,
        task_identifier=rule,
        kwargs=kwargs,
    )


ROWS = [
    row("c1"),
    row("c2", "Spatial", answer="hail", audio_path=["data/x.wav", "data/y.wav"]),
    row("o1", "open", choices=None, answer="Because it rains."),
    row("o2", "open", choices=[], answer="It does not."),
    instruction("i1", "No Commas"),
    instruction("i2", "Number Words (range)", N1=2.0, N2=3.0),
]


def write(path, rows=ROWS):
    if path.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def pro(path, **more):
    return MmauPro(
        name="mmau_pro",
        prompt="{question} {choices}",
        parser=extract,
        dataset=str(path),
        audio_root=str(path.parent),
        groups=("category",),
        **more,
    )


@pytest.mark.parametrize("name", ["test.parquet", "test.jsonl"])
def test_the_three_kinds_from_either_file(tmp_path, name):
    task = pro(write(tmp_path / name))
    samples = {s.id: s for s in task.samples()}
    assert [s.meta["kind"] for s in samples.values()] == (
        ["closed"] * 2 + ["open"] * 2 + ["instruction_following"] * 2
    )
    assert [c.text for c in samples["c1"].choices] == ["a dog", "a cat", "hail"]
    assert (samples["c1"].target, samples["c2"].target) == ("A", "C")
    assert len(samples["c2"].audio) == 2
    assert samples["c1"].audio[0].path == str(tmp_path / "data" / "c1.wav")
    assert samples["o1"].choices == ()
    assert samples["i2"].meta["rule"] == "Number Words range"
    assert samples["i2"].meta["arguments"] == {"question": "What barks?", "N1": 2.0, "N2": 3.0}
    (request,) = task.requests(samples["i1"], Generation())
    assert request.messages[0].parts[-1].text == "What barks?"
    assert task.report() == {"left_out": {}}


def test_rows_that_cannot_be_scored_are_listed(tmp_path):
    """The original drops some of them in silence, which are left out, and fails the others."""
    bad = [
        row("c1"),
        row("b1", choices=["one"]),
        row("b2", choices=None),
        row("b3", answer="a wolf"),
        instruction("b4", "Sing"),
        instruction("b5", "Number Bullets"),
        instruction("b6", "Number Words (range)", N1=1.0),
    ]
    task = pro(write(tmp_path / "t.jsonl", bad))
    good, *faulty = task.samples()
    assert (good.id, good.fault) == ("c1", None)
    expected = {
        "b3": "the answer 'a wolf' is none of its choices",
        "b4": "unknown instruction 'Sing'",
        "b5": "instruction Number Bullets without N;",
        "b6": "instruction Number Words range without N2;",
    }
    assert [s.id for s in faulty] == list(expected)
    for sample in faulty:
        assert expected[sample.id] in sample.fault
    assert task.report()["left_out"] == {
        "closed question with fewer than two choices": ["b1", "b2"],
    }


def test_one_kind_can_be_chosen(tmp_path):
    path = write(tmp_path / "t.jsonl")
    assert [s.id for s in pro(path, part="open").samples()] == ["o1", "o2"]
    with pytest.raises(ConfigError, match=r"task\.part=shut"):
        pro(path, part="shut")


def test_arguments_may_be_json_text_and_ids_may_be_absent(tmp_path):
    line = instruction("x", "Number Bullets")
    line |= {"kwargs": '[{"N": 1}]', "id": None}
    (sample,) = pro(write(tmp_path / "t.jsonl", [line])).samples()
    assert sample.id == "mmau_pro_0"
    assert sample.meta["arguments"]["N"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio_path": None}, "audio_path"),
        ({"audio_path": []}, "audio_path"),
        ({"category": None}, "category"),
        ({"question": " "}, "question"),
    ],
)
def test_a_broken_row_is_named(tmp_path, change, message):
    task = pro(write(tmp_path / "t.jsonl", [row("c1"), row("c2") | change]))
    good, bad = task.samples()
    assert (good.fault, bad.id) == (None, "c2")
    assert "item 2 ('c2')" in bad.fault
    assert message in bad.fault


def test_what_is_no_table_is_refused(tmp_path):
    path = tmp_path / "test.parquet"
    path.write_text("id,question")
    with pytest.raises(DataError, match="not Parquet"):
        list(pro(path).samples())


OUTPUTS = {
    "c1": "It must be a dog",
    "c2": "It sounds like frozen rain",
    "o1": "Rain falls.",
    "o2": "No.",
    "i1": "Rain, then wind.",
    "i2": "two words",
}
JUDGED = "CORRECTNESS: 5\nRELEVANCE: 4\nCOMPLETENESS: 4\nCLARITY: 5\nOVERALL: {}"


@pytest.fixture
def asked(tmp_path):
    path = write(tmp_path / "test.parquet")
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(json.dumps({"id": i, "output": o}) + "\n" for i, o in OUTPUTS.items())
    )
    (tmp_path / "data").mkdir()
    return (
        *("task=mmau_pro", f"task.dataset={path}", f"task.audio_root={tmp_path}"),
        *("model=predictions", f"model.path={answers}", "model.rate=null", *QUIET),
    )


def test_a_run_of_all_kinds(bench, run_folders, tmp_path, asked):
    verdicts = tmp_path / "verdicts.jsonl"
    said = {"o1": JUDGED.format(5), "o2": JUDGED.format("[2]")}
    verdicts.write_text(
        "".join(json.dumps({"id": i, "verdict": v}) + "\n" for i, v in said.items())
    )
    bench(*asked, f"task.verdicts={verdicts}", check=0)
    (folder,) = run_folders().values()
    metrics = json.loads((folder / "metrics.json").read_text())
    values = metrics["metrics"]
    assert metrics["headline"] == ["accuracy", "if_success_rate", "open_mean", "overall"]
    assert (values["n"], values["n_closed"], values["n_open"]) == (6, 2, 2)
    assert values["accuracy"] == 0.5
    assert values["chance"] == pytest.approx(1 / 3)
    assert values["if_success_rate"] == 0.5
    assert values["open_mean"] == 3.5
    assert values["open_share_4_or_more"] == values["open_share_2_or_less"] == 0.5
    assert values["overall"] == pytest.approx((0.5 * 2 + 0.5 * 2 + 3.5 / 5 * 2) / 6)
    assert values["accuracy[exact_or_string]"] == 0.5
    assert values["accuracy[closed_match]"] is None
    analysis = json.loads((folder / "analysis.json").read_text())
    assert "task.encoder" in analysis["not_computed"]["accuracy[closed_match]"]
    assert analysis["closed_match"]["stages"] == {"exact": 0, "string": 1, "encoder": 0, "open": 1}
    assert {r["value"]: r["success_rate"] for r in analysis["instructions_by_rule"]} == {
        "No Commas": 0.0,
        "Number Words range": 1.0,
    }
    assert [r["value"] for r in analysis["by_category"]] == ["Spatial", "sound"]


def test_without_verdicts_there_is_no_overall(bench, run_folders, asked):
    done = bench(*asked, check=0)
    assert "needs a judge's verdicts" in done.stdout
    (folder,) = run_folders().values()
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert (values["open_mean"], values["overall"]) == (None, None)
    assert values["open_judged_rate"] == 0.0


def test_an_encoder_settles_the_rest_under_its_own_name(bench, run_folders, asked, tmp_path):
    folder = tmp_path / "tiny-encoder"
    sentence_encoder(folder)
    bench(*asked, "task.part=closed", f"task.encoder={folder}", check=0)
    (run,) = run_folders().values()
    values = json.loads((run / "metrics.json").read_text())["metrics"]
    assert values["accuracy[closed_match:tiny-encoder]"] in (0.5, 1.0)
    assert "accuracy[closed_match]" not in values
    analysis = json.loads((run / "analysis.json").read_text())["closed_match"]
    assert analysis == {
        "stages": {"exact": 0, "string": 1, "encoder": 1, "open": 0},
        "encoder": "tiny-encoder",
    }
    assert values["overall"] == values["accuracy"]


def test_guessing_the_closed_part_in_every_order(bench, run_folders, asked):
    words = [w for w in asked if not w.startswith("model")]
    bench(*words, "model=random", "task.part=closed", "task.options=circular", check=0)
    (folder,) = run_folders().values()
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert values["n"] == 2
    assert "accuracy_strict" in values
    assert "letter_bias" in values


def test_nothing_answered_is_no_number(tmp_path):
    import pandas as pd

    for mode in ("fixed", "circular"):
        task = pro(write(tmp_path / "t.jsonl"), options=mode)
        assert task.metrics(pd.DataFrame()).values["overall"] is None


def test_a_kind_that_was_not_asked_does_not_enter(tmp_path):
    task = pro(write(tmp_path / "t.jsonl"), part="instruction_following")
    samples = list(task.samples())
    scores = [task.score(s, [Response("k", s.id, OUTPUTS[s.id])])[0] for s in samples]
    import pandas as pd

    frame = pd.DataFrame(
        [{"id": s.sample_id, "cluster": s.sample_id, "n_options": 0, **s.values} for s in scores]
    ).assign(kind="instruction_following", rule="r", label="x", target=None, target_text=None)
    values = summarise(frame, (), None).values
    assert values["overall"] == values["if_success_rate"] == 0.5
    assert values["accuracy"] is None
