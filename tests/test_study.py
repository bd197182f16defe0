"""`stage=study`: cells in order, one resident model, failures that stay alone, resume."""

import json

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from lalm_bench import cli, study_timing  # noqa: F401 - cli registers what conf/ interpolates
from lalm_bench.errors import ConfigError, Incomplete
from lalm_bench.models import pretrained
from lalm_bench.study import combinations, expand, study
from tests import tiny
from tests.conftest import ROOT
from tests.test_run import rows

QUIET = ("tracking=none", "figures=false", "progress=false", "runtime.device=cpu")
REASONING = '["protocol=qwen_reasoning"]'
GIVEN_BACK = '["protocol=qwen_reasoning","intervention=conditioned"]'


@pytest.fixture(scope="session")
def reader(tmp_path_factory):
    """A tiny language model's folder."""
    return tiny.build("tiny_llama", tmp_path_factory.mktemp("reader"))


def counted_loads(monkeypatch):
    """The folders of which networks were loaded, each time one is."""
    found, real = [], pretrained.load_network

    def counted(folder, *args, **kwargs):
        found.append(folder)
        return real(folder, *args, **kwargs)

    monkeypatch.setattr(pretrained, "load_network", counted)
    return found


@pytest.fixture
def loads(monkeypatch):
    """See `counted_loads`."""
    return counted_loads(monkeypatch)


def run_study(tmp_path, *overrides):
    """A study's folder, from a command line in this process."""
    words = [
        *(f"paths.outputs={tmp_path / 'outputs'}", f"paths.multirun={tmp_path / 'multi'}"),
        *(f"paths.data={tmp_path / 'data'}", *QUIET, *overrides),
    ]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", words, return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        own = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
        return study(own)


@pytest.fixture
def start(tmp_path):
    """`start(*overrides)` is `run_study` below `tmp_path`."""
    return lambda *overrides: run_study(tmp_path, *overrides)


@pytest.fixture
def asked(tmp_path, reader):
    """Four questions to a model that reads, as overrides."""
    lines = [
        {
            "id": f"q{n}",
            "audio_filename": f"clip{n // 2}.wav",
            "question": f"Which event comes next after event {n}?",
            "options": [
                {"label": label, "text": f"{word} {n}", "type": "event"}
                for label, word in zip("ABCD", ("rain", "dog", "car", "bell"), strict=True)
            ],
            "answer_label": "ABCD"[n],
            "answer_text": f"{('rain', 'dog', 'car', 'bell')[n]} {n}",
        }
        for n in range(4)
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return (
        *("stage=study", "task=mcq", f"task.dataset={file}", "model=text", f"model.path={reader}"),
        *("model.dtype=float32", "generation.max_new_tokens=12"),
    )


def cells(folder):
    return json.loads((folder / "study.json").read_text())["cells"]


def study_folder(tmp_path, task="mcq", model="text", name="study"):
    return tmp_path / "multi" / "studies" / name / task / model


def answers(tmp_path):
    return {p: p.read_bytes() for p in (tmp_path / "outputs").rglob("responses.jsonl")}


def test_cells_run_in_order_with_one_model_and_build_on_each_other(start, asked, loads, tmp_path):
    listed = f'study.cells=[{REASONING},["protocol=direct"],{GIVEN_BACK},["seed=1,2"]]'
    folder = start(*asked, listed)
    assert folder == str(study_folder(tmp_path))
    assert len(loads) == 1
    found = cells(study_folder(tmp_path))
    assert [c["overrides"] for c in found] == [
        *(["protocol=qwen_reasoning"], ["protocol=direct"]),
        ["protocol=qwen_reasoning", "intervention=conditioned"],
        *(["seed=1"], ["seed=2"]),
    ]
    assert all(c["error"] is None for c in found)
    states = [json.loads((tmp_path / c["folder"] / "run.json").read_text()) for c in found]
    finished = [state["finished"] for state in states]
    assert finished == sorted(finished)
    # `baseline: auto` became the first cell, which did not exist when the study began.
    assert states[2]["config"]["intervention"]["baseline"] == states[0]["fingerprint"]
    tables = (study_folder(tmp_path) / "tables.md").read_text()
    assert tables.index("## protocol=direct") < tables.index("intervention=conditioned")
    paired = json.loads((study_folder(tmp_path) / "paired.json").read_text())
    compared = [r["fingerprint"] for family in paired["families"] for r in family["runs"]]
    assert states[2]["fingerprint"] in compared


def test_a_second_start_loads_nothing_and_asks_nothing(start, asked, loads, tmp_path):
    listed = f"study.cells=[{REASONING},{GIVEN_BACK}]"
    start(*asked, listed)
    before, tables = answers(tmp_path), (study_folder(tmp_path) / "tables.md").read_text()
    assert len(before) == 2
    loads.clear()
    start(*asked, listed)
    assert loads == []
    assert answers(tmp_path) == before
    assert (study_folder(tmp_path) / "tables.md").read_text() == tables


def test_after_a_loss_only_what_is_missing_is_asked(start, asked, tmp_path):
    start(*asked, 'study.cells=[["protocol=direct"],["seed=1"]]')
    log = tmp_path / cells(study_folder(tmp_path))[1]["folder"] / "responses.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    (log.parent / "metrics.json").unlink()
    before = answers(tmp_path)
    start(*asked, 'study.cells=[["protocol=direct"],["seed=1"]]')
    after = answers(tmp_path)
    assert after[log].startswith(before[log])
    assert {r["key"] for r in rows(log)} == {json.loads(x)["key"] for x in whole.splitlines()}
    assert len(rows(log)) == 4
    assert {p: b for p, b in after.items() if p != log} == {
        p: b for p, b in before.items() if p != log
    }


def test_a_failing_cell_leaves_the_others(start, asked, loads, tmp_path):
    # Its baseline is the cell after it.
    listed = f'study.cells=[{GIVEN_BACK},{REASONING},["protocol=direct"]]'
    with pytest.raises(
        Incomplete, match="1 of 3 cells have no result, first protocol=qwen_reasoning"
    ):
        start(*asked, listed)
    found = cells(study_folder(tmp_path))
    assert "builds on the same run without it" in found[0]["error"]
    assert [c["folder"] is None for c in found] == [True, False, False]
    tables = (study_folder(tmp_path) / "tables.md").read_text()
    assert "No result: intervention=conditioned builds on" in tables
    assert tables.count("| all |") == 2
    assert len(loads) == 1
    # Now it is there; the same command ends well, and asks the failed cell alone.
    before = answers(tmp_path)
    start(*asked, listed)
    assert all(c["error"] is None for c in cells(study_folder(tmp_path)))
    assert before.items() < answers(tmp_path).items()


def test_each_asks_all_cells_of_every_value(start, asked, loads, tmp_path):
    plan = (
        'study.cells=[{generation.temperature: 0.0}, ["protocol=direct"]]',
        "+study.each.seed=[1,2]",
    )
    start(*asked, *plan)
    assert [c["overrides"] for c in cells(study_folder(tmp_path))] == [
        *(["seed=1", "generation.temperature=0.0"], ["seed=1", "protocol=direct"]),
        *(["seed=2", "generation.temperature=0.0"], ["seed=2", "protocol=direct"]),
    ]
    assert len(loads) == 1
    # What the command line chooses is not asked for each value.
    start(*asked, *plan, "seed=5")
    assert [c["overrides"] for c in cells(study_folder(tmp_path))] == [
        *(["generation.temperature=0.0"], ["protocol=direct"]),
    ]


def test_another_model_replaces_the_resident_one(start, asked, loads, tmp_path):
    own = ("model.dtype=float32", "seed=3", "model.dtype=float16", "model.name=other")
    start(*asked, f"study.cells={json.dumps([[word] for word in own])}")
    assert len(loads) == 3


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("study.cells=[]", "study.cells is empty"),
        ("study.cells=[protocol]", "'protocol' must be a list of overrides"),
        ("+study.timing={items: 0}", "study.timing.items=0 must be a whole number, 1 or more"),
        ("+study.timing={rounds: 2}", "study.timing.rounds: no such setting; there are items"),
    ],
)
def test_a_wrong_plan_asks_nothing(start, asked, loads, tmp_path, plan, message):
    usual = () if "cells" in plan else ('study.cells=[["protocol=direct"]]',)
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        start(*asked, *usual, plan)
    assert not (tmp_path / "outputs").exists()
    assert not (tmp_path / "multi").exists()
    assert loads == []


def test_a_cell_that_does_not_compose_stops_the_study_before_it_begins(start, asked, tmp_path):
    with pytest.raises(ConfigError, match=r"generation\.max_new_tokens=0 must be"):
        start(*asked, 'study.cells=[["protocol=direct"],["generation.max_new_tokens=0"]]')
    assert not (tmp_path / "outputs").exists()


def test_expand_and_combinations():
    assert expand(["a=1,2", "b=x", "c=3,4"]) == [
        *(("a=1", "b=x", "c=3"), ("a=1", "b=x", "c=4")),
        *(("a=2", "b=x", "c=3"), ("a=2", "b=x", "c=4")),
    ]
    assert expand(["words=[a,b]", "t='x,y'"]) == [("words=[a,b]", "t='x,y'")]
    assert combinations({"a": [1, 2], "b": None, "c": True}) == [
        *(("a=1", "b=null", "c=true"), ("a=2", "b=null", "c=true")),
    ]
    assert combinations({}) == [()]


def test_timing_asks_again_and_is_kept(start, asked, loads, tmp_path):
    plan = ('study.cells=[["seed=1"]]', "+study.timing={items: 2, warmup: 0, repeats: 3}")
    start(*asked, *plan)
    assert len(loads) == 2
    file = study_folder(tmp_path) / "timing" / "mcq.json"
    stored = json.loads(file.read_text())
    (cell,) = stored["cells"].values()
    assert (cell["n"], cell["items"], cell["speedup_total"], cell["theory"]) == (6, 2, 1, 1)
    spent = sorted(1000 * t["prefill"] for t in stored["times"])
    assert cell["prefill_ms"] == pytest.approx((spent[2] + spent[3]) / 2)
    loads.clear()
    before = file.read_bytes()
    start(*asked, *plan)
    assert (loads, file.read_bytes()) == ([], before)
    # Other settings ask for other times; the answers stand.
    start(*asked, plan[0], "+study.timing={items: 1, warmup: 0, repeats: 1}")
    assert len(loads) == 1
    assert len(json.loads(file.read_text())["times"]) == 1


def test_a_task_that_cannot_be_timed_loses_no_result(start, asked, tmp_path, monkeypatch):
    def fails(experiment, request):
        raise Incomplete("item 'q0': out of memory")

    monkeypatch.setattr(study_timing, "_timed", fails)
    plan = ('study.cells=[["seed=1"]]', "+study.timing={items: 2, warmup: 0, repeats: 3}")
    with pytest.raises(Incomplete, match="not timed: mcq: item 'q0': out of memory"):
        start(*asked, *plan)
    assert cells(study_folder(tmp_path))[0]["folder"] is not None
    assert (study_folder(tmp_path) / "tables.md").exists()
    assert not list(study_folder(tmp_path).glob("timing/*"))
