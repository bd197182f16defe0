"""Cells are composed as the command line composes them, checked, and sent once."""

import json
import os

import pytest

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.sweep.cells import check, search_path
from lalm_bench.sweep.composing import composing
from lalm_bench.sweep.record import Cell, Job, Part, Submission, Sweep, load
from tests.conftest import ROOT

QUICK = ("task=mcq_synthetic", "task.scenes=1", "model=random", "tracking=none", "figures=false")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_values_set_on_a_copy_give_what_hydra_composes():
    lists = [
        [*QUICK, "seed=1"],
        [*QUICK, "seed=2", "generation.temperature=0.5"],
        [*QUICK, "seed=3", "++model.cell=4", "task.scenes=null"],
        [*QUICK, "intervention=noise", "intervention.snr_db=-10", "seed=3"],
        [*QUICK, "intervention=noise", "intervention.snr_db=null", "limit=${seed}"],
        [*QUICK, "+extra.deep=1", "~figures"],
        ["experiment=synthetic_full", "seed=4", "task.scenes=2"],
    ]
    with composing() as composed:
        alone = [composed._whole(words) for words in lists]
        assert [composed(words) for words in lists] == alone
        assert [composed(words) for words in reversed(lists)] == alone[::-1]


def test_a_setting_that_is_not_there_is_an_error_of_its_cell(tmp_path):
    with pytest.raises(ConfigError, match=r"cell 1 \(task\.scnes=2\): 'task\.scnes' is no setting"):
        check([[*QUICK], [*QUICK, "task.scnes=2"]], "config", [])
    assert not any(tmp_path.iterdir())


def test_the_order_of_overrides_is_none_of_a_cell_and_equal_cells_are_sent_once():
    first, second, third = check(
        [[*QUICK, "seed=1"], [*reversed(QUICK), "seed=1"], [*QUICK, "seed=2"]], "config", []
    )
    assert first.folder == second.folder != third.folder
    assert (first.same_as, second.same_as, third.same_as) == (None, 0, None)
    assert [len(cell.parts) for cell in (first, second, third)] == [1, 0, 1]


def test_what_is_finished_is_not_sent_and_shards_are_parts(bench, tmp_path):
    bench(*QUICK, "seed=1", check=0)
    here = f"paths.outputs={tmp_path / 'outputs'}"
    done, split = check([[*QUICK, here, "seed=1"], [*QUICK, "seed=2", "shards=3"]], "config", [])
    assert (done.finished, split.finished) == (True, False)
    assert split.parts == [Part(1, 0), Part(1, 1), Part(1, 2)]
    with pytest.raises(ConfigError, match="cannot be split"):
        check([[*QUICK, "model.compat=true", "shards=2"]], "config", [])


def test_folders_of_configuration_of_ones_own(tmp_path):
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "mine.yaml").write_text(
        "defaults: [random, _self_]\nname: mine\n"
    )
    (cell,) = check([[*QUICK, "model=mine"]], "config", search_path(["own"]))
    assert "/mine/" in cell.folder


def test_the_record_survives_and_names_its_neighbours(tmp_path):
    cell = Cell(0, ("seed=1",), "run", "f" * 16, "outputs/x", "m", shards=2)
    job = Job("5_0", "log", (Part(0, 0), Part(0, 1)))
    sweep = Sweep(
        tmp_path / "one", os.getcwd(), [], "config", {"pack": "none"}, "outputs", True, [cell]
    )
    sweep.submissions.append(Submission(1, "name", 2.0, [job]))
    sweep.save()
    assert load(tmp_path / "one") == sweep
    with pytest.raises(DataError, match="there are one"):
        load(tmp_path / "two")
    record = tmp_path / "one" / "sweep.json"
    record.write_text(json.dumps({"cells": 3}))
    with pytest.raises(DataError, match="no sweep's record"):
        load(tmp_path / "one")


def test_help_is_quick_and_says_what_there_is(bench):
    import subprocess
    import sys

    from tests.conftest import environment

    command = [sys.executable, "-X", "importtime", "-m", "lalm_bench.sweep", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(ROOT))
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in ("submit", "status", "resume", "collect"))
    assert not any(f"| {name}\n" in done.stderr for name in ("torch", "mlflow", "submitit"))
