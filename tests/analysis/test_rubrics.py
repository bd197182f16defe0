"""From a run to criteria, from criteria to rubrics, from rubrics to a judged run."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

from lalm_bench.analysis.__main__ import main
from tests.analysis.conftest import table
from tests.conftest import ROOT, environment
from tests.judges.conftest import prompt_of, rows, scripted
from tests.models import test_every_task
from tests.openai_server import running
from tests.tasks import test_mmau

GOOD = [
    {"name": "Bark", "scoring_point": "Award 1 point if a bark is described.", "weight": 3},
    {"name": "Night", "scoring_point": "Award 1 point if the reverberation is used.", "weight": 1},
]
BAD = [
    {"name": "Answer", "scoring_point": "Award 1 point if it says Dog.", "weight": 3},
    {"name": "Bark", "scoring_point": "Award 1 point if a bark is described!", "weight": 2},
    {"name": "Empty"},
]


@pytest.fixture
def answered(stage, tmp_path):
    """A run over three questions of MMAR's form, which have neither rubric nor reasoning."""
    row = {**test_mmau.MMAR, "choices": ["Dog", "Cat"]}
    words = test_every_task.questions(tmp_path / "mmar", "q.jsonl", row, "audio_path")
    said = {"u0": "A dog", "u1": "Dog, it barks", "u2": "Cat"}
    lines = [f'{k},"{v}"\n' for k, v in said.items()]
    (tmp_path / "said.csv").write_text("id,output\n" + "".join(lines))
    model = ("model=predictions", "model.rate=null", f"model.path={tmp_path / 'said.csv'}")
    return stage("run", "task=mmar", *words, *model)


def writer(asked):
    """Five criteria, of which two stay."""
    assert "Correct answer: Dog" in asked["messages"][1]["content"]
    return json.dumps([GOOD[0], *BAD, GOOD[1]])


def generated(tmp_path, run, *words, code=0):
    folder = tmp_path / "rubrics"
    assert main(["rubrics", "generate", str(run), *words, "--out", str(folder)]) == code
    return folder


def cleaned(folder, *words, code=0):
    assert main(["rubrics", "clean", str(folder), *map(str, words)]) == code
    return folder / "clean"


def test_from_a_run_to_a_judged_run(answered, one, bench, tmp_path, capsys):
    server = scripted(writer)
    with running(server) as url:
        folder = generated(tmp_path, answered, *one(url))
        asked = len(server.bodies)
        generated(tmp_path, answered, *one(url))
    # The three questions are equal, and so are their requests: one call, and none the second time.
    assert asked == len(server.bodies) == 1
    state = json.loads((folder / "generate.json").read_text())
    assert (state["status"], state["counts"]["replies"]) == ("finished", 3)
    assert state["counts"]["output_tokens"] == 10
    place = cleaned(folder, "--run", answered, "--dataset", tmp_path / "mmar" / "q.jsonl")
    rubrics = {r["id"]: r["rubric"] for r in rows(place / "rubrics.jsonl")}
    assert [*rubrics] == ["u0", "u1", "u2"]
    assert [(c["name"], c["weight"]) for c in rubrics["u1"]] == [("Bark", 0.75), ("Night", 0.25)]
    counts = {r[""]: int(r["number"]) for r in table(place, "counts")}
    assert counts["criteria written"] == 15
    assert counts["dropped: states the answer"] == counts["dropped: duplicate"] == 3
    assert counts["dropped: no scoring point of three words"] == 3
    assert counts["criteria kept"] == 6
    assert len(table(place, "dropped")) == 9
    assert [r["rubric"] for r in rows(place / "dataset.jsonl")] == [*rubrics.values()]
    (copy,) = (place / "runs").iterdir()
    assert copy.name != answered.name

    def opinion(asked):
        met = int("it barks" in prompt_of(asked))
        names = re.findall(r"### Criterion: (\w+)", prompt_of(asked))
        return json.dumps([{"name": n, "score": met if n == "Night" else 1} for n in names])

    # The command that the page shows, as it stands there.
    (command,) = re.findall(
        r"python -m (lalm_bench stage=judge .*)", (place / "rubrics.md").read_text()
    )
    words = shlex.split(command)[1:]
    with running(scripted(opinion)) as url:
        bench(*words, *one(url), "tracking=none", "progress=false", check=0)
    decided = {r["id"]: r for r in rows(copy / "judge" / "mmar_rubric" / "decisions.jsonl")}
    # u2 is wrong: the string match keeps it from the judge, as is published.
    assert [decided[i]["score[judge]"] for i in ("u0", "u1", "u2")] == [0.5, 1.0, 0.0]
    assert "judge" not in {p.name for p in answered.iterdir()}
    # What the judge said is not swept away by cleaning again.
    cleaned(folder, "--run", answered, code=2)
    assert f"{copy / 'judge'} would be lost" in capsys.readouterr().err
    assert (copy / "judge" / "mmar_rubric" / "decisions.jsonl").is_file()


def test_the_data_set_with_its_rubrics_is_a_task(answered, one, stage, tmp_path):
    with running(scripted(writer)) as url:
        folder = generated(tmp_path, answered, *one(url))
    place = cleaned(folder, "--dataset", tmp_path / "mmar" / "q.jsonl")
    words = ("task=mmar", f"task.dataset={place / 'dataset.jsonl'}")
    model = ("model=predictions", "model.rate=null", f"model.path={tmp_path / 'said.csv'}")
    run = stage("run", *words, f"task.audio_root={tmp_path / 'mmar'}", *model)
    decided = rows(run / "decisions.jsonl")
    assert [c["name"] for c in decided[0]["rubric"]] == ["Bark", "Night"]
    assert decided[0]["thinking"] == "not given"


def test_items_without_a_rubric_stay_and_are_not_judged(made, one, bench, tmp_path):
    """Of a run in any task; what the judge cannot read of an item is said, not invented."""
    from tests.compare.conftest import row

    run = made("none", [row(i, "a", target_text=f"word{i}", text="I hear it") for i in range(3)])

    def writes(asked):
        if "number 1" in json.dumps(asked):  # whichever turn says so: no list, asked twice
            return "I cannot."
        return json.dumps(GOOD)

    server = scripted(writes)
    with running(server) as url:
        folder = generated(tmp_path, run, *one(url))
    assert len(server.bodies) == 4
    place = cleaned(folder, "--run", run)
    page = (place / "rubrics.md").read_text()
    assert "2 of 3 decisions" in page
    assert "+judge.rubric.only.has_rubric=true" in page
    assert "~judge.rubric.gate" in page
    counts = {r[""]: int(r["number"]) for r in table(place, "counts")}
    assert counts["without a rubric: reply without a list of criteria"] == 1
    assert counts["items with a rubric"] == 2
    facts = json.loads((place / "rubrics.json").read_text())
    assert [*facts["runs"].values()] == [{"decisions": 3, "with_rubric": 2}]


def test_a_task_without_mmars_string_match_is_judged_too(stage, one, bench, tmp_path):
    run = stage("run", "task.scenes=2", "model=random")
    with running(scripted(lambda asked: json.dumps(GOOD))) as url:
        folder = generated(tmp_path, run, *one(url))
    place = cleaned(folder, "--run", run)
    (command,) = re.findall(r"python -m (lalm_bench stage=.*)", (place / "rubrics.md").read_text())
    words = shlex.split(command)[1:]
    reply = json.dumps([{"name": c["name"], "score": 1} for c in GOOD])
    with running(scripted(lambda asked: reply)) as url:
        bench(*words, *one(url), "progress=false", check=0)  # with MLflow
    (judged,) = (place / "runs").glob("*/judge/mmar_rubric/decisions.jsonl")
    assert {r["score[judge]"] for r in rows(judged)} == {1.0}


def test_a_fault_is_named_and_asked_again(answered, one, tmp_path, capsys):
    broken = scripted(writer, fault=lambda number, before, body: "400")
    with running(broken) as url:
        generated(tmp_path, answered, *one(url), code=1)
    assert "incomplete: 3 items have no reply (u0, u1, u2)" in capsys.readouterr().err
    assert (
        json.loads((tmp_path / "rubrics" / "generate.json").read_text())["status"] == "incomplete"
    )
    cleaned(tmp_path / "rubrics", code=2)
    assert "no item keeps a rubric" in capsys.readouterr().err
    with running(scripted(writer)) as url:
        folder = generated(tmp_path, answered, *one(url))
    assert len(rows(folder / "criteria.jsonl")) == 3


def test_a_killed_pass_asks_only_what_is_missing(stage, one, tmp_path):
    run = stage("run", "task.scenes=2", "model=random")
    count = len(rows(run / "decisions.jsonl"))
    server = scripted(lambda asked: json.dumps(GOOD), latency=0.2)
    words = ("rubrics", "generate", str(run), "--out", str(tmp_path / "rubrics"))
    with running(server) as url:
        settings = [*one(url, max_in_flight=1), "progress=false"]
        command = [sys.executable, "-m", "lalm_bench.analysis", *words, *settings]
        for number, ending in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
            began = subprocess.Popen(command, cwd=tmp_path, env=environment(ROOT))
            before = len(server.bodies)
            while len(server.bodies) < before + 3:
                assert began.poll() is None
                time.sleep(0.02)
            began.send_signal(number)
            assert began.wait(60) == ending
        server.latency = 0
        assert main([*words, *settings]) == 0
    done = rows(tmp_path / "rubrics" / "replies.jsonl")
    distinct = len({row["key"] for row in done})
    assert len(done) == distinct
    # A kill loses what was in flight, which is one request here; a request to stop loses none.
    assert distinct <= server.stats()["successes"] <= distinct + 1
    assert len(rows(tmp_path / "rubrics" / "criteria.jsonl")) == count


def test_a_language_model_in_this_process(answered, checkpoint, tmp_path, capsys):
    """A tiny checkpoint writes noise: every reply is stored, counted, and never taken for one."""
    pytest.importorskip("torch")
    words = ("judge/panel=local", f"judge.panel.judge.path={checkpoint('tiny_llama')}")
    words += ("judge.panel.judge.dtype=float32", "runtime.device=cpu", "judge.max_new_tokens=8")
    folder = generated(tmp_path, answered, *words)
    assert "3 of 3 items have a reply, 3 of them without criteria" in capsys.readouterr().out
    before = (folder / "replies.jsonl").read_bytes()
    assert len(before.splitlines()) == 2  # equal questions are asked once, and once more
    generated(tmp_path, answered, *words)
    assert (folder / "replies.jsonl").read_bytes() == before
    cleaned(folder, code=2)
    error = capsys.readouterr().err
    assert "3 x reply without a list of criteria" in error
    assert error.count("\n") == 1
    assert not (folder / "clean").exists()
    generated(tmp_path, answered, *words, "judge.seed=8", "judge.temperature=1.0")
    assert len((folder / "replies.jsonl").read_bytes().splitlines()) > 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("judge/panel=three",), "one model writes the criteria"),
        (("judge.panel.judge.served_nme=x",), "served_name"),
        (("judge/panel=nobody",), "nobody"),
        (("judge.panel.judge.served_name=x", "--wording", "wording.yaml"), "wording.yaml"),
    ],
)
def test_bad_settings_are_one_line(answered, tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wording.yaml").write_text("template: [1]\n")
    folder = generated(tmp_path, answered, *words, code=2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not folder.exists()


def test_a_server_that_is_away_is_one_line(answered, one, tmp_path, capsys):
    generated(tmp_path, answered, *one("http://127.0.0.1:9/v1", max_retries=0), code=2)
    error = capsys.readouterr().err
    assert error.startswith("error: judge.panel.judge: http://127.0.0.1:9/v1 cannot be reached")
    assert error.count("\n") == 1


def test_a_wording_of_ones_own(answered, one, tmp_path):
    own = tmp_path / "wording.yaml"
    own.write_text("name: mine\ntemplate: 'Criteria for {question}: {answer}?'\n")
    server = scripted(lambda asked: json.dumps(GOOD))
    with running(server) as url:
        generated(tmp_path, answered, *one(url), "--wording", str(own))
    assert prompt_of(server.bodies[0]) == "Criteria for What barks?: Dog?"


def test_a_dry_run_asks_nothing(answered, one, tmp_path, capsys):
    server = scripted(writer)
    with running(server) as url:
        folder = generated(tmp_path, answered, *one(url), "judge.dry_run=true")
    assert "dry run: 1 calls" in capsys.readouterr().out
    assert not server.bodies
    assert not folder.exists()
    cleaned(folder, code=2)
    assert "run rubrics generate first" in capsys.readouterr().err
